"use strict";
// Text is only ever set as text: nothing that a user or a server says becomes markup.
const $ = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
let shown = null;
let policy = null;
let curve = [];

function headers() {
  const key = $("key").value.trim();
  return { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
}

async function ask(path, options) {
  const answer = await fetch(path, { ...options, headers: headers() });
  const value = await answer.json();
  if (!answer.ok) {
    if (answer.status === 401) $("key-box").open = true;
    throw new Error(value.error ? value.error.message : `status ${answer.status}`);
  }
  return value;
}

function node(tag, text, name) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

$("try").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("error").hidden = true;
  const query = $("query").value;
  const started = performance.now();
  try {
    const decision = await ask("/predict", { method: "POST", body: JSON.stringify({ query }) });
    $("latency").textContent = `${(performance.now() - started).toFixed(1)} ms`;
    showDecision(decision);
    showWords(query, (await ask("/explain", { method: "POST", body: JSON.stringify({ query }) })).words);
  } catch (error) {
    $("error").textContent = `Not answered: ${error.message}.`;
    $("error").hidden = false;
  }
});

function showDecision(decision) {
  shown = decision;
  $("result").hidden = false;
  $("confidence").textContent = percent(decision.confidence);
  $("p-cloud").textContent = decision.p_cloud.toFixed(4);
  $("tokens").textContent = decision.tokens + (decision.truncated ? ", cut" : "");
  $("target").textContent = decision.target;
  $("target").className = decision.target;
  $("why").textContent = `(${decision.reason.replaceAll("_", " ")})`;
  $("words").replaceChildren();
  showThreshold();
}

// The policy as the router applies it: one comparison, and a text that was not read goes to the safe target.
const isUnread = () => shown.reason === "unreadable_text" || shown.reason === "empty_text";

function targetAt(threshold) {
  if (isUnread()) return shown.target;
  return shown.p_cloud >= threshold ? "cloud" : "local";
}

// The slider has two digits; where it shows the served threshold, that one counts with all of its digits.
function chosenThreshold() {
  const value = $("threshold").value;
  return policy && Number(value) === Number(policy.effective_threshold.toFixed(2)) ? policy.effective_threshold : Number(value);
}

function showThreshold() {
  const threshold = chosenThreshold();
  $("threshold-value").textContent = threshold.toFixed(2);
  showCurve(threshold);
  if (!shown) return;
  $("marker").style.left = percent(shown.p_cloud).replace(" ", "");
  $("flip").textContent = `At ${threshold.toFixed(2)}: ${targetAt(threshold)}. ` + (isUnread()
    ? "No threshold flips it: the text was not read."
    : `Cloud up to a threshold of ${shown.p_cloud}, local above it.`);
}
$("threshold").addEventListener("input", showThreshold);

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Share and quality at a threshold, on the line between two points of the curve; a lower threshold is a larger share.
function onCurve(threshold) {
  for (let index = 1; index < curve.length; index += 1) {
    const before = curve[index - 1], after = curve[index];
    if (threshold < after.threshold) continue;
    const width = before.threshold - after.threshold;
    const part = width > 0 ? Math.min(1, (before.threshold - threshold) / width) : 1;
    const between = (name) => before[name] + part * (after[name] - before[name]);
    return { share: between("share"), quality: between("quality") };
  }
  return curve[curve.length - 1];
}

function showCurve(threshold) {
  const hasQuality = curve.length > 1 && curve.every((point) => typeof point.quality === "number");
  $("curve-figure").hidden = !hasQuality;
  $("curve-none").hidden = hasQuality || !policy;
  $("curve-none").textContent =
    "This artifact keeps no outcomes to draw. `pointsman calibrate` with labelled queries stores them.";
  if (!hasQuality) return;
  const qualities = curve.map((point) => point.quality);
  const low = Math.min(...qualities), high = Math.max(...qualities), span = high - low || 1;
  const x = (share) => 44 + 256 * share, y = (quality) => 132 - 116 * ((quality - low) / span);
  const weak = curve[0].quality, strong = curve[curve.length - 1].quality;
  const parts = [];
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(svg("line", { x1: x(share), x2: x(share), y1: 14, y2: 132, class: "grid" }));
    parts.push(svg("text", { x: x(share), y: 147, "text-anchor": share < 1 ? "middle" : "end", dx: share < 1 ? 0 : 14 }, `${100 * share} %`));
  }
  for (const quality of [low, high]) {
    parts.push(svg("text", { x: 38, y: y(quality) + 4, "text-anchor": "end" }, quality.toFixed(2)));
  }
  parts.push(svg("text", { x: 172, y: 164, "text-anchor": "middle" }, "share of queries to the cloud"));
  parts.push(svg("line", { x1: x(0), y1: y(weak), x2: x(1), y2: y(strong), class: "chance" }));
  const line = curve.map((point) => `${x(point.share).toFixed(1)},${y(point.quality).toFixed(1)}`);
  parts.push(svg("polyline", { points: line.join(" "), class: "line" }));
  const now = onCurve(policy.effective_threshold), tried = onCurve(threshold);
  parts.push(svg("circle", { cx: x(now.share), cy: y(now.quality), r: 5, class: "now" }));
  if (threshold !== policy.effective_threshold) {
    parts.push(svg("circle", { cx: x(tried.share), cy: y(tried.quality), r: 6, class: "tried" }));
  }
  $("curve").replaceChildren(...parts);
  const say = (name, point) => `${name}: ${percent(point.share)} to the cloud, quality ${point.quality.toFixed(3)}.`;
  $("curve-caption").textContent =
    "Mean quality of the answers to the queries that it was calibrated on; dashed, a coin in the router's place. " +
    say(`Now, at ${policy.effective_threshold.toFixed(2)}`, now) +
    (threshold === policy.effective_threshold ? "" : ` ${say(`At ${threshold.toFixed(2)}`, tried)}`);
}

function showWords(query, words) {
  const shownWords = $("words");
  // Against the largest: where the router is sure, no word alone moves it far, and still one carries most.
  const largest = Math.max(...words.map((word) => Math.abs(word.weight)), 0.05);
  for (const { start, end, weight } of words) {
    const share = Math.abs(weight) / largest;
    const name = share < 0.1 ? "" : weight > 0 ? "up" : "down";
    const part = node("span", query.slice(start, end), name);
    if (name) {
      part.style.setProperty("--strength", `${(8 + 37 * share).toFixed(0)}%`);
      part.append(node("small", ` ${weight > 0 ? "+" : ""}${weight.toFixed(2)}`));
    }
    shownWords.append(part, " ");
  }
}

function showLive(live) {
  const { local, cloud } = live.targets;
  const ms = (value) => (value === null ? "–" : `${value.toFixed(1)} ms`);
  const figures = {
    requests: live.requests, errors: live.errors, fallbacks: live.fallbacks, queue: live.queue,
    share: local + cloud ? percent(cloud / (local + cloud)) : "–",
    p50: ms(live.latency_ms.p50), p95: ms(live.latency_ms.p95), p99: ms(live.latency_ms.p99),
    saved: `${live.saved.toFixed(live.saved < 1 ? 6 : 2)} ${live.currency}`,
    cached: live.cache.hits + live.cache.misses ? percent(live.cache.hits / (live.cache.hits + live.cache.misses)) : "–",
    drift: live.drift === null ? "–" : live.drift.toFixed(3),
    busiest: Math.max(0, ...live.seconds.map((second) => second.local + second.cloud)),
  };
  for (const [id, value] of Object.entries(figures)) $(id).textContent = value;
  policy = live.policy;
  curve = live.curve;
  $("model").textContent = `${live.model.name} (${live.model.variant}, ${live.model.version}): cloud from ` +
    `p_cloud ${policy.effective_threshold.toFixed(4)}, ${policy.safe_target} where in doubt` +
    (live.workers.of > 1 ? `; ${live.workers.answered} of ${live.workers.of} processes` : "");
  const names = Object.entries(live.upstreams);
  $("upstreams").replaceChildren(...(names.length
    ? names.map(([name, up]) => {
      const line = node("li", `: ${up.model ?? "unnamed"}, ${up.state === "open" ? "given a rest" : "in use"}`);
      line.prepend(node("span", name, name));
      return line;
    })
    : [node("li", "No upstream is configured; only classification is answered.")]));
  if (!$("threshold").dataset.set) {
    $("threshold").value = policy.effective_threshold;
    $("threshold").dataset.set = "yes";
  }
  showThreshold();
  showChart(live.seconds);
  showRecent(live.recent, live.shows_text);
}

function showChart(seconds) {
  const now = seconds.length ? seconds[seconds.length - 1].at : 0;
  const most = Math.max(1, ...seconds.map((second) => second.local + second.cloud));
  const bars = [];
  for (const second of seconds) {
    const x = 238 - 2 * (now - second.at);
    if (x < 0) continue;
    let y = 60;
    for (const target of ["local", "cloud"]) {
      const height = (56 * second[target]) / most;
      y -= height;
      const bar = svg("rect", { x, y, width: 1.6, height, class: `bar-${target}` });
      bars.push(bar);
    }
  }
  $("chart").replaceChildren(...bars);
}

function showRecent(recent, showsText) {
  $("text-head").hidden = !showsText;
  $("recent").replaceChildren(...recent.slice(0, 20).map((one) => {
    const row = document.createElement("tr");
    row.append(
      node("td", new Date(1000 * one.time).toLocaleTimeString()), node("td", one.kind),
      node("td", one.target, one.target), node("td", one.reason),
      node("td", one.p_cloud === null ? "–" : one.p_cloud.toFixed(4)), node("td", one.tokens ?? "–"),
    );
    if (showsText) row.append(node("td", one.text ?? ""));
    return row;
  }));
}

async function watch() {
  try {
    showLive(await ask("/live.json"));
  } catch (error) {
    $("model").textContent = `No figures: ${error.message}`;
  }
  setTimeout(watch, document.hidden ? 10000 : 2000);
}
watch();
