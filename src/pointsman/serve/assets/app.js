"use strict";
// Text is only ever set as text: nothing that a user or a server says becomes markup.
const $ = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
let shown = null;

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
  $("why").textContent = `(${decision.reason.replace("_", " ")})`;
  $("words").replaceChildren();
  showThreshold();
}

function showThreshold() {
  const threshold = Number($("threshold").value);
  $("threshold-value").textContent = threshold.toFixed(2);
  if (!shown) return;
  const target = shown.p_cloud >= threshold ? "cloud" : "local";
  $("flip").textContent =
    `At ${threshold.toFixed(2)}: ${target}. It flips at ${shown.p_cloud.toFixed(4)}.`;
}
$("threshold").addEventListener("input", showThreshold);

function showWords(query, words) {
  const shownWords = $("words");
  for (const word of words) {
    const name = word.lift > 0.005 ? "up" : word.lift < -0.005 ? "down" : "";
    const part = node("span", query.slice(word.start, word.end), name);
    if (name) part.append(node("small", ` ${word.lift > 0 ? "+" : ""}${word.lift.toFixed(2)}`));
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
    saved: live.saved.toFixed(6),
  };
  for (const [id, value] of Object.entries(figures)) $(id).textContent = value;
  const policy = live.policy;
  $("model").textContent = `${live.model.name} (${live.model.variant}, ${live.model.version}): cloud from ` +
    `${policy.cloud_threshold}, ${policy.safe_target} below confidence ${policy.confidence_threshold}`;
  const names = Object.entries(live.upstreams);
  $("upstreams").textContent = names.length
    ? names.map(([name, up]) => `${name}: ${up.model ?? "unnamed"}, breaker ${up.state}`).join("; ")
    : "No upstream is configured; only classification is answered.";
  if (!$("threshold").dataset.set) {
    $("threshold").value = policy.cloud_threshold;
    $("threshold").dataset.set = "yes";
    showThreshold();
  }
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
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      y -= height;
      for (const [key, value] of Object.entries({ x, y, width: 1.6, height })) bar.setAttribute(key, value);
      bar.setAttribute("class", `bar-${target}`);
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
