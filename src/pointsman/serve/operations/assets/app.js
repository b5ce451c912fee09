"use strict";
// Text is only ever set as text: nothing that a user or a server says becomes markup.
const $ = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
let shown = null;
let policy = null;
let curve = [];
let latest = null;
let asked = [];

function headers(field = "key") {
  const key = $(field).value.trim();
  return { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
}

async function ask(path, options, field) {
  const answer = await fetch(path, { ...options, headers: headers(field) });
  const value = await answer.json();
  if (!answer.ok) {
    if (answer.status === 401 || (answer.status === 403 && field)) $("key-box").open = true;
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
  $("answers").replaceChildren();
  $("feedback").hidden = true;
  $("feedback-said").textContent = "";
  showThreshold();
}

// One model's answer, with the id by which feedback names the request.
async function answerOf(name, query) {
  const started = performance.now();
  const body = JSON.stringify({ model: name, messages: [{ role: "user", content: query }] });
  const card = document.createElement("article");
  card.append(node("h4", name, name));
  try {
    const answer = await fetch("/v1/chat/completions", { method: "POST", body, headers: headers() });
    const value = await answer.json();
    if (!answer.ok) throw new Error(value.error ? value.error.message : `status ${answer.status}`);
    const decision = value.pointsman ?? {};
    if (decision.upstream && decision.upstream !== name) {
      card.append(node("p", `Answered by ${decision.upstream} (${decision.reason}).`, "note"));
    }
    card.append(node("p", value.choices?.[0]?.message?.content ?? "No text."));
    const used = value.usage ? `, ${value.usage.completion_tokens} tokens` : "";
    card.append(node("p", `${((performance.now() - started) / 1000).toFixed(1)} s${used}`, "note"));
    return { card, id: answer.headers.get("x-request-id") };
  } catch (error) {
    card.append(node("p", `Not answered: ${error.message}.`, "bad"));
    return { card, id: null };
  }
}

$("ask-both").addEventListener("click", async () => {
  $("ask-both").disabled = true;
  $("feedback").hidden = true;
  $("feedback-said").textContent = "Asking both…";
  const query = $("query").value;
  const answers = await Promise.all(["local", "cloud"].map((name) => answerOf(name, query)));
  $("ask-both").disabled = false;
  $("answers").replaceChildren(...answers.map((answer) => answer.card));
  asked = answers.map((answer) => answer.id);
  for (const button of $("feedback").children) button.setAttribute("aria-pressed", "false");
  $("feedback").hidden = !latest.captures || asked.includes(null);
  $("feedback-said").textContent = latest.captures ? "" : "Set capture.path to keep what you think of them.";
});

$("feedback").addEventListener("click", async (event) => {
  const target = event.target.dataset.target;
  if (!target) return;
  try {
    const said = await ask("/v1/feedback", { method: "POST", body: JSON.stringify({ request_id: asked[0], target }) });
    for (const button of $("feedback").children) button.setAttribute("aria-pressed", String(button === event.target));
    $("feedback-said").textContent = said.stored ? "Stored." : "Not stored: this chat is not in the captured share.";
  } catch (error) {
    $("feedback-said").textContent = `Not stored: ${error.message}.`;
  }
});

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
  showOutcome(threshold);
  $("marker").hidden = !shown;
  if (!shown) return;
  $("marker").style.left = percent(shown.p_cloud).replace(" ", "");
  $("flip").textContent = `At ${threshold.toFixed(2)}: ${targetAt(threshold)}. ` + (isUnread()
    ? "No threshold flips it: the text was not read."
    : `Cloud up to a threshold of ${shown.p_cloud}, local above it.`);
}
$("threshold").addEventListener("input", showThreshold);

const hasQuality = () => curve.length > 1 && curve.every((point) => typeof point.quality === "number");
const money = (value) => `${value.toLocaleString("en", { maximumSignificantDigits: 4, notation: value >= 1e9 ? "compact" : "standard" })} ${latest.currency}`;

// What the threshold does to share, quality and money, at the prices and the volume in the fields.
function showOutcome(threshold) {
  $("outcome").hidden = $("serve").hidden = curve.length < 2;
  if (curve.length < 2 || !latest) return;
  const point = onCurve(threshold);
  $("at-share").textContent = percent(point.share);
  $("at-quality").textContent = hasQuality() ? point.quality.toFixed(3) : "not stored";
  const [volume, cloud, local] = ["volume", "cloud-price", "local-price"].map((id) => $(id).valueAsNumber);
  const known = [volume, cloud, local].every(Number.isFinite);
  const cost = volume * (point.share * cloud + (1 - point.share) * local), all = volume * cloud;
  $("at-money").textContent = known ? money(cost) : "say volume and prices";
  $("at-saved").textContent = known && all > 0 ? `${money(all - cost)}, ${percent(1 - cost / all)}` : "–";
  const isServed = threshold === policy.effective_threshold;
  $("apply").disabled = isServed || !latest.takes_threshold;
  $("apply").textContent = isServed ? "This threshold is served" : `Serve ${threshold.toFixed(2)}`;
  if (!latest.takes_threshold) $("apply").textContent = latest.budget ? "The budget moves it" : "Needs auth.admin_keys";
}
for (const id of ["volume", "cloud-price", "local-price"]) {
  $(id).addEventListener("input", () => { $(id).dataset.typed = "yes"; showThreshold(); });
}

// An untouched field shows what was measured: over the last 30 days, or over fewer where fewer are known.
function fillPrices(live) {
  const sum = totals(live.days.slice(-30), live.columns);
  const first = live.hours.concat(live.days).reduce((at, row) => Math.min(at, row[0]), Infinity);
  const days = Math.min(30, Math.max((live.now - first) / 86400, 1 / 24));
  const fields = {
    volume: sum.cloud_calls + sum.local_calls > 0 ? Math.round((sum.cloud_calls + sum.local_calls) / days * 30) : NaN,
    "cloud-price": sum.cloud_calls > 0 && sum.cloud_cost > 0 ? sum.cloud_cost / sum.cloud_calls : NaN,
    "local-price": sum.local_calls > 0 ? sum.local_cost / sum.local_calls : live.upstreams.local?.is_priced ? NaN : 0,
  };
  for (const [id, value] of Object.entries(fields)) {
    if (!$(id).dataset.typed && Number.isFinite(value)) $(id).value = Number(value.toPrecision(4));
  }
  $("prices-from").textContent = `In ${live.currency}. An empty field takes its value from the chats so far.`;
}

function totals(rows, columns) {
  const sum = Object.fromEntries(columns.map((name) => [name, 0]));
  for (const row of rows) columns.forEach((name, index) => { sum[name] += row[index]; });
  return sum;
}

$("serve").addEventListener("submit", async (event) => {
  event.preventDefault();
  const threshold = chosenThreshold();
  $("applied").className = "";
  try {
    await ask("/admin/threshold", { method: "POST", body: JSON.stringify({ threshold }) }, "admin-key");
    $("applied").textContent = `Served until the gateway restarts. To keep it: routing.cloud_threshold = ${threshold}`;
    showLive(await ask("/live.json"));
  } catch (error) {
    $("applied").className = "bad";
    $("applied").textContent = `Not served: ${error.message}.`;
    if ($("key-box").open) $("admin-key").focus();
  }
});

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
  $("curve-figure").hidden = !hasQuality();
  $("curve-none").hidden = hasQuality() || !policy;
  $("curve-none").textContent =
    "This artifact keeps no outcomes to draw. `pointsman calibrate` with labelled queries stores them.";
  if (!hasQuality()) return;
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
    "Mean quality of the answers to the queries that it was calibrated on; dashed: a random router. " +
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
  latest = live;
  const month = totals(live.days.slice(-30), live.columns), ever = totals(live.days, live.columns);
  const { local, cloud } = live.targets;
  const ms = (value) => (value === null ? "–" : `${value.toFixed(1)} ms`);
  const figures = {
    requests: live.requests, errors: live.errors, fallbacks: live.fallbacks, queue: live.queue,
    share: local + cloud ? percent(cloud / (local + cloud)) : "–",
    p50: ms(live.latency_ms.p50), p95: ms(live.latency_ms.p95), p99: ms(live.latency_ms.p99),
    spent: money(month.spent), saved: money(month.saved),
    captured: live.captures ? ever.captured : "off", labels: live.captures ? ever.labels : "off",
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
  $("both").hidden = names.length < 2;
  $("budget").hidden = !live.budget;
  if (live.budget) {
    $("budget").textContent = `Budget of the ${live.budget.period}: ${money(live.budget.spent)} of ${money(live.budget.amount)} spent, ` +
      `until ${new Date(1000 * live.budget.ends).toISOString().slice(0, 16).replace("T", " ")} UTC` +
      (live.budget.threshold === null ? "." : `; cloud from p_cloud ${live.budget.threshold.toFixed(4)} for now.`);
  }
  fillPrices(live);
  if (!$("threshold").dataset.set) {
    $("threshold").value = policy.effective_threshold;
    $("threshold").dataset.set = "yes";
  }
  showThreshold();
  showChart();
  showRecent(live.recent, live.shows_text);
}

const SPANS = { seconds: [1, 120, "second"], hours: [3600, 48, "hour"], days: [86400, 60, "day"] };

function showChart() {
  const [width, count, name] = SPANS[document.querySelector("input[name=span]:checked").value];
  const rows = name === "second" ? latest.seconds : latest[`${name}s`].map((row) => totals([row], latest.columns));
  const now = name === "second" ? (rows.length ? rows[rows.length - 1].at : 0) : Math.floor(latest.now / width) * width;
  const most = Math.max(1, ...rows.map((row) => row.local + row.cloud));
  const bars = [], step = 240 / count;
  let local = 0, cloud = 0;
  for (const row of rows) {
    const x = 240 - step * (1 + (now - row.at) / width);
    if (x < -0.01) continue;
    let y = 60;
    local += row.local;
    cloud += row.cloud;
    for (const target of ["local", "cloud"]) {
      const height = (56 * row[target]) / most;
      y -= height;
      bars.push(svg("rect", { x, y, width: 0.8 * step, height, class: `bar-${target}` }));
    }
  }
  $("chart").replaceChildren(...bars);
  $("chart-says").textContent = ` decisions a ${name}, at most ${most.toLocaleString("en")}: ${local.toLocaleString("en")} local and ${cloud.toLocaleString("en")} cloud.`;
}
$("spans").addEventListener("change", showChart);

function showRecent(recent, showsText) {
  $("recent").replaceChildren(...recent.slice(0, 20).flatMap((one) => {
    const row = document.createElement("tr");
    row.append(
      node("td", new Date(1000 * one.time).toLocaleTimeString()), node("td", one.kind),
      node("td", one.target, one.target), node("td", one.reason),
      node("td", one.p_cloud === null ? "–" : one.p_cloud.toFixed(4)), node("td", one.tokens ?? "–"),
    );
    if (!showsText || !one.text) return [row];
    // A line of its own: beside six columns there is no room for it on any screen.
    row.className = "has-text";
    const text = document.createElement("tr");
    text.append(node("td", "", "text"));
    text.firstChild.append(node("div", one.text));
    text.firstChild.colSpan = row.children.length;
    return [row, text];
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
