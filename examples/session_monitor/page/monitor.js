// Follows a Durable Stream of changes to sessions, and shows them. `?stream=` names another stream than the usual one.
//
// Following is the first half: a plain EventSource, and long-polls where streams do not get through. Both stand at an
// offset of the stream, so the page can go over from one to the other at any time and misses and doubles nothing.
// Showing is the second half. All text goes in as text, never as markup.

const asked = new URLSearchParams(location.search).get("stream");
const STREAM = asked ?? `http://${location.hostname}:4437/v1/stream/sessions`;
const STEADY_MS = 5_000; // a stream that says nothing for so long after it was asked for, or lasts no longer, has failed
const FAILURES = 3; // of streams in a row, before we poll
const SILENT_MS = 90_000; // the server speaks at least once a minute: after this, the connection is dead
const POLL_MS = 60_000; // the same for a long-poll, which the server answers after 30 seconds at most
const TRY_STREAM_MS = 30_000; // while we poll, how often we look whether streams get through again
const AWAY_MS = 1_000; // before we ask again a server that is away
const OLD_SECONDS = 30; // the feeder says something every few seconds: after this, something is wrong with it
const CHANGED_MS = 800; // how long a card stands out that has changed
const HAPPENED = 12; // lines that tell what happened

// ---- following ------------------------------------------------------------------------------------------------------

let offset = "-1"; // up to where we have read; -1: nothing yet

const at = (query) => `${STREAM}?${new URLSearchParams(query)}`;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function follow() {
  let closed = false;
  while (!closed) closed = (await stream()) || (await poll());
  link("ended", "The stream is closed");
}

// Follows by EventSource, which comes back by itself. Ends with true when the stream is closed, with false when streams
// keep failing.
function stream() {
  return new Promise((resolve) => {
    const source = new EventSource(at({ offset, live: "sse" }));
    let failures = 0, since = 0, watch = 0;
    const stop = (closed) => { clearTimeout(watch); source.close(); resolve(closed); };
    const expect = (ms) => { clearTimeout(watch); watch = setTimeout(stop, ms, false); };
    source.onopen = () => { since = Date.now(); };
    source.addEventListener("data", (event) => take(JSON.parse(event.data), event.lastEventId));
    source.addEventListener("control", (event) => {
      const control = JSON.parse(event.data);
      offset = control.streamNextOffset;
      link("live", "Live");
      expect(SILENT_MS);
      if (control.streamClosed) stop(true);
    });
    source.onerror = () => {
      failures = since && Date.now() - since > STEADY_MS ? 1 : failures + 1;
      since = 0;
      if (source.readyState === EventSource.CLOSED || failures === FAILURES) return stop(false);
      link("lost", "Reconnecting…");
      expect(STEADY_MS);
    };
    expect(STEADY_MS);
  });
}

// Follows by long-polls. Ends with true when the stream is closed, with false when streams get through again, and also
// when polls do not: then streams are as good.
async function poll() {
  let through = false, cursor = ""; // the cursor lets caches in front of the server tell our polls apart
  const trying = setInterval(async () => { through = await streamsGetThrough(); }, TRY_STREAM_MS);
  try {
    while (!through) {
      const answer = await fetch(at({ offset, live: "long-poll", cursor }), { signal: AbortSignal.timeout(POLL_MS) });
      if (answer.status === 410) { startAnew(); continue; } // what comes after our offset has been removed
      if (!answer.ok) throw new Error(answer.status === 404 ? "The stream is not there yet" : `The server says ${answer.status}`);
      const next = answer.headers.get("Stream-Next-Offset");
      if (answer.status === 200) take(await answer.json(), next);
      offset = next;
      if (answer.headers.has("Stream-Closed")) return true;
      link("live", "Live, by polling");
      cursor = answer.headers.get("Stream-Cursor") ?? "";
    }
  } catch (error) {
    link("lost", error instanceof TypeError ? "The server is away, trying again…" : `${error.message}, trying again…`);
    await sleep(AWAY_MS);
  } finally {
    clearInterval(trying);
  }
  return false;
}

// Whether a stream brings something and then lasts. It is only a trial: what it brings is not taken.
function streamsGetThrough() {
  return new Promise((resolve) => {
    const source = new EventSource(at({ offset: "now", live: "sse" }));
    let spoke = false;
    const end = (through) => { clearTimeout(timer); source.close(); resolve(through); };
    const timer = setTimeout(() => end(spoke), STEADY_MS);
    source.addEventListener("control", () => { spoke = true; });
    source.onerror = () => end(false);
  });
}

// ---- what the changes mean ------------------------------------------------------------------------------------------

const sessions = new Map(); // key → { title, state, line } and what the last change meant
let happened = []; // the newest first
let newest = 0; // when the newest event was written, in ms
let feeder = null;

function take(changes, next) {
  const news = changes.map(change).filter(Boolean);
  offset = next;
  draw();
  // for whoever wants to hear of changes once they are shown
  for (const one of news) document.dispatchEvent(new CustomEvent("session", { detail: one }));
}

// Folds one change into what we know; tells what it was. What is not for us, or makes no sense, is passed over.
function change(message) {
  const { type, key, value, headers } = message ?? {};
  const time = Date.parse(headers?.timestamp) || Date.now();
  newest = Math.max(newest, time);
  if (type === "feeder") feeder = value;
  const gone = headers?.operation === "delete";
  if (type !== "session" || !headers || (!gone && !value?.state)) return null;
  const before = sessions.get(key);
  const one = { key, ...(value ?? before), ...meaning(before?.state, value?.state), time, txid: headers.txid };
  if (gone) sessions.delete(key);
  else sessions.set(key, one);
  happened = [one, ...happened].slice(0, HAPPENED);
  return one;
}

// The three transitions that matter, and the others.
function meaning(before, after) {
  if (!after) return { kind: "gone", words: "Gone" };
  if (!before) return { kind: "started", words: "Started" };
  if (before === after) return { kind: "update", words: "Update" };
  if (after === "needs-approval") return { kind: "needs-approval", words: "Needs approval" };
  if (before === "working" && after === "waiting") return { kind: "waiting", words: "Working → waiting" };
  return { kind: after === "done" ? "done" : "other", words: `${before[0].toUpperCase()}${name(before).slice(1)} → ${name(after)}` };
}

const name = (state) => state.replace("-", " ");

function startAnew() {
  offset = "-1";
  sessions.clear();
  happened = [];
}

// ---- showing --------------------------------------------------------------------------------------------------------

const $ = (selector, within = document) => within.querySelector(selector);
const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const cards = new Map(); // key → element

function link(state, words) {
  $("#link").dataset.state = state;
  put($("#link"), words);
}

function draw() {
  for (const [key, card] of cards) if (!sessions.has(key)) { card.remove(); cards.delete(key); }
  for (const [key, session] of sessions) drawSession(key, session);
  $("#none").hidden = sessions.size > 0;
  drawApprovals([...sessions.values()].filter((session) => session.state === "needs-approval"));
  $("#happened ol").replaceChildren(...happened.map(told));
  if (feeder) put($("#feeder"), feeder.starts === 1 ? "Feeder started once" : `Feeder started ${feeder.starts} times`);
  drawAges();
}

function drawSession(key, session) {
  let card = cards.get(key);
  if (!card) {
    card = $("#card").content.cloneNode(true).firstElementChild;
    card.id = key;
    cards.set(key, card);
    $("#sessions").append(card);
  }
  if (card.session === session) return;
  card.session = session;
  card.dataset.state = session.state;
  put($("h3", card), session.title);
  put($(".badge", card), name(session.state));
  put($(".line", card), session.line);
  card.classList.add("changed"); // no animation: many a second, painted frame by frame, would delay what comes next
  clearTimeout(card.calming);
  card.calming = setTimeout(() => card.classList.remove("changed"), CHANGED_MS);
}

function drawApprovals(waiting) {
  $("#approvals").hidden = waiting.length === 0;
  const texts = waiting.map(({ title, line }) => `${title}: ${line}`);
  const list = $("#approvals ul");
  if ([...list.children].map((item) => item.textContent).join("\n") !== texts.join("\n")) {
    list.replaceChildren(...texts.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  }
  document.title = waiting.length ? `(${waiting.length}) Agent sessions` : "Agent sessions";
}

function told({ kind, words, title, line, time }) {
  const item = Object.assign(document.createElement("li"), { className: kind });
  const when = Object.assign(document.createElement("time"), { textContent: new Date(time).toLocaleTimeString("en-GB") });
  const what = Object.assign(document.createElement("b"), { textContent: words });
  item.append(when, what, Object.assign(document.createElement("span"), { textContent: `${title}: ${line}` }));
  return item;
}

function drawAges() {
  const seconds = Math.max(0, (Date.now() - newest) / 1000);
  $("#age").toggleAttribute("data-old", newest > 0 && seconds > OLD_SECONDS);
  if (newest) put($("#age"), `Newest event ${ago(seconds)}`);
  for (const card of cards.values()) {
    put($(".last", card), `${card.session.words}, ${ago(Math.max(0, (Date.now() - card.session.time) / 1000))}`);
  }
}

function ago(seconds) {
  if (seconds < 1.5) return "just now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  return seconds < 5_400 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}

setInterval(drawAges, 1000);
follow();
