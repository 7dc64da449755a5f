// The whole page hangs on one EventSource. It starts at the beginning of the log, so what happened before it was opened
// is shown too: replay and live are the same thing. All text goes in as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const put = (id, text) => { if ($(id).textContent !== String(text)) $(id).textContent = text; };
const element = (tag, className, text = "") => Object.assign(document.createElement(tag), { className, textContent: text });
const count = (n) => Number(n).toLocaleString("en");
const say = (text) => put("status", text); // one polite region; what changes all the time is not announced

const TOPICS = "demo/about,proof/ticks,files/**,jobs/**,texts/**";
const events = new EventSource(`/api/v1/events/stream?topics=${TOPICS}&from=earliest&format=envelope`);

// Each event comes as its CloudEvents envelope, because that says which topic it belongs to.
function on(types, handle) {
  for (const type of types) {
    events.addEventListener(type, (e) => {
      handle(JSON.parse(e.data), type);
      cursor = e.lastEventId;
      draw();
    });
  }
}

on(["message"], (event) => (event.topic === "proof/ticks" ? tick(event) : about(event.data)));
on(["created", "updated", "deleted"], changed);
on(["work.started", "work.progress", "work.chunk", "work.completed", "work.failed"], (event, type) =>
  (event.topic.startsWith("texts/") ? text : job)[type.slice(5)]?.(event.data, event.topic));

// ---- the connection -------------------------------------------------------------------------------------------------

let cursor = "–", connection = null, opened = 0, drops = -1, retry = 2000, countdown = 0;

function link(state, words) {
  $("link").dataset.state = state;
  $("drop").disabled = state !== "open";
  put("state", words);
}

events.addEventListener("tailrace.open", (e) => {
  clearInterval(countdown);
  connection = JSON.parse(e.data).connection;
  opened = Date.now();
  drops += 1;
  link("open", "Live");
  say(drops ? "Connected again." : "Connected.");
  draw();
});

events.onerror = () => {
  clearInterval(countdown);
  if (events.readyState === EventSource.CLOSED) return ended("The stream has ended. Reload the page to start again.");
  const back = Date.now() + retry;
  const show = () => {
    const seconds = Math.ceil((back - Date.now()) / 1000);
    link("lost", seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting…");
  };
  show();
  countdown = setInterval(show, 200);
  say("Connection lost. It will come back by itself.");
};

function ended(words) {
  events.close();
  link("ended", "Ended");
  warn("note", words);
}

events.addEventListener("tailrace.drain", (e) => { retry = JSON.parse(e.data).retry; });
events.addEventListener("tailrace.end", (e) => {
  const end = JSON.parse(e.data);
  if (end.retry === null) ended(`The server ended the stream: ${end.detail ?? end.reason}`);
});
events.addEventListener("tailrace.gap", (e) => {
  const gap = JSON.parse(e.data);
  proof.run = null; // the numbers start anew after the gap; that some are missing has been said
  warn("gap", `Some events are gone (${gap.reason}): from ${gap.requested} to ${gap.available}. The log kept them no longer.`);
});

function warn(id, words) {
  put(id, words);
  $(id).hidden = false;
}

// ---- the proof ------------------------------------------------------------------------------------------------------

const TAPE = 80;
const proof = { run: null, last: 0, received: 0, doubled: 0, disordered: 0, replayed: 0 };
const holes = new Set(); // the numbers below `last` that have not come
const tape = [];

function tick({ data: { run, n }, time }) {
  if (run !== proof.run) Object.assign(proof, { run, last: n - 1 });
  if (n <= proof.last) {
    if (holes.delete(n)) proof.disordered += 1;
    else proof.doubled += 1;
  }
  for (let hole = proof.last + 1; hole < n; hole += 1) holes.add(hole);
  proof.last = Math.max(proof.last, n);
  proof.received += 1;
  const replayed = drops > 0 && Date.parse(time) < opened;
  if (replayed) proof.replayed += 1;
  tape.push(replayed ? "replayed" : "live");
  if (tape.length > TAPE) tape.shift();
}

// ---- files, the job, the text ---------------------------------------------------------------------------------------

const ROWS = 7;
const changes = [];

function about({ folder, command, python, retry_milliseconds }) {
  put("folder", folder);
  put("command", command);
  put("python", python);
  retry = retry_milliseconds;
}

function changed({ data, time }, type) {
  changes.unshift({ ...data, type, time: new Date(time).toLocaleTimeString() });
  changes.length = Math.min(changes.length, ROWS);
}

function fileRow({ type, path, size, time }) {
  const row = element("li", "");
  row.append(element("b", type, type), element("code", "", path));
  row.append(element("span", "soft", size === null ? time : `${count(size)} B · ${time}`));
  return row;
}

const work = { topic: null, stages: [], at: -1, percent: 0, message: "", state: "waiting", result: [] };

const job = {
  started({ stages }, topic) {
    Object.assign(work, { topic, stages, at: -1, percent: 0, message: "Starting.", state: "running", result: [] });
  },
  progress({ stage_index, percent, message }, topic) {
    if (topic === work.topic) Object.assign(work, { at: stage_index, percent, message: message || work.message });
  },
  completed({ result }, topic) {
    if (topic !== work.topic) return;
    Object.assign(work, { at: work.stages.length, percent: 100, state: "completed", message: "Completed." });
    work.result = [["files", count(result.files)], ["megabytes", count(Math.round(result.bytes / 1e6))],
      ["distinct", count(result.distinct)], ["seconds", result.seconds], ["all together", result.sha256]];
    say(`The job is completed: ${count(result.files)} files hashed.`);
  },
  failed({ code, message }, topic) {
    if (topic !== work.topic) return;
    Object.assign(work, { state: "failed", message: `Failed (${code}). ${message}` });
    say("The job has failed.");
  },
};

let reading = null;

const text = {
  started({ name }, topic) {
    reading = topic;
    put("text-name", name);
    put("words", "");
    $("typing").hidden = false;
  },
  chunk({ text: words }, topic) {
    if (topic === reading) $("words").append(words);
  },
  completed(_, topic) {
    if (topic !== reading) return;
    $("typing").hidden = true;
    say("The text is complete.");
  },
  failed(_, topic) {
    if (topic === reading) $("typing").hidden = true;
  },
};

// ---- drawing: at most once a frame ----------------------------------------------------------------------------------

let waiting = false;

function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    drawProof();
    drawJob();
    $("files").replaceChildren(...changes.map(fileRow));
    $("no-files").hidden = changes.length > 0;
    $("text").disabled = !$("typing").hidden;
  });
}

function drawProof() {
  for (const name of ["received", "doubled", "disordered", "replayed"]) put(name, count(proof[name]));
  put("missing", count(holes.size));
  put("drops", count(Math.max(drops, 0)));
  put("cursor", cursor);
  for (const name of ["missing", "doubled", "disordered"]) $(name).classList.toggle("bad", $(name).textContent !== "0");
  for (const [i, kind] of tape.entries()) cells[TAPE - tape.length + i].className = kind;
}

function drawJob() {
  $("hash").disabled = work.state === "running";
  $("stages").replaceChildren(...work.stages.map((name, i) => {
    const step = element("li", i < work.at ? "done" : i === work.at ? "now" : "", name);
    if (i === work.at) step.setAttribute("aria-current", "step");
    return step;
  }));
  $("bar").dataset.state = work.state;
  const known = work.percent !== null, percent = Math.round(work.percent);
  if (known) $("bar").setAttribute("aria-valuenow", percent);
  else $("bar").removeAttribute("aria-valuenow"); // how far it is cannot be told
  $("bar").setAttribute("aria-valuetext", `${work.stages[work.at] ?? work.state}, ${known ? `${percent} %` : work.message}`);
  $("fill").style.width = `${percent}%`;
  put("message", work.message);
  $("result").replaceChildren(...work.result.map(([name, value]) => {
    const pair = element("div", "");
    pair.append(element("dt", "", name), element("dd", "", value));
    return pair;
  }));
}

const cells = Array.from({ length: TAPE }, () => element("i", ""));
$("tape").append(...cells);
put("curl", `curl -N '${location.origin}/api/v1/events/stream?topics=proof/ticks'`);

// ---- the buttons ----------------------------------------------------------------------------------------------------

async function press(address) {
  $("note").hidden = true;
  try {
    const answer = await fetch(address, { method: "POST" });
    if (!answer.ok) warn("note", (await answer.json()).detail);
  } catch {
    warn("note", "The server does not answer: is the demo still running?");
  }
}

$("drop").onclick = () => press(`/demo/drop?connection=${encodeURIComponent(connection)}`);
for (const name of ["file", "hash", "text"]) $(name).onclick = () => press(`/demo/${name}`);
