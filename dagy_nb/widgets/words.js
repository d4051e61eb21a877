// The browser half of the view of a run. No dependency, no network. Its parts are joined to one module, in this order:
// words, notebook, store, elements, graph, rows, tasks, timeline, log, panel, form, view, stills, run_view.
//
// ---- States, and times and numbers for people.

const FINAL = new Set(["COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED", "SKIPPED", "CRASHED"]);
const RANK = { PENDING: 0, QUEUED: 1, RUNNING: 2, RETRYING: 3 };
const BAD = new Set(["FAILED", "TIMED_OUT", "CRASHED"]);
const STATE_ORDER = [
  "COMPLETED", "RUNNING", "RETRYING", "FAILED", "TIMED_OUT", "CRASHED", "CANCELLED", "SKIPPED", "QUEUED", "PENDING",
];

// The same as `duration` in dagy/drawing/labels.py.
function duration(milliseconds) {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 0.0005) return "<1 ms";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours} h ${two(minutes)} min` : `${minutes} min ${two(whole % 60)} s`;
}

function counted(number, thing) {
  return `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
}

// A line as it reads without the colours of a terminal.
function plain(line) {
  return line.replace(/\u001b\[[0-9;:]*m/g, "");
}

function lastLine(task) {
  const found = task.log.findLast(({ text }) => plain(text).trim());
  return found ? plain(found.text).trim() : "";
}

// How far a mapped task is: "3 of 10, 1 failed, 2 skipped".
function itemsOf({ items }) {
  if (!items || items.count === null) return "";
  const some = (number, word) => (number ? `${number.toLocaleString("en")} ${word}` : "");
  const done = `${items.done.toLocaleString("en")} of ${items.count.toLocaleString("en")}`;
  return [done, some(items.failed, "failed"), some(items.skipped, "skipped")].filter(Boolean).join(", ");
}

// "attempt 2 of 3"; empty where there is only ever one.
function attemptOf(task, about) {
  const most = (about.retries || 0) + 1;
  if (task.attempt < 1 || (most < 2 && task.attempt < 2)) return "";
  return task.attempt <= most ? `attempt ${task.attempt} of ${most}` : `attempt ${task.attempt}`;
}

// The items of a mapped task by state, and what to call that state of an item.
function itemsByState({ items }) {
  const count = items.count ?? 0;
  const [running, skipped] = [items.running || 0, items.skipped || 0];
  const waiting = Math.max(0, count - items.done - items.failed - skipped - running);
  return [["COMPLETED", items.done, "completed"], ["FAILED", items.failed, "failed"], ["SKIPPED", skipped, "skipped"], ["RUNNING", running, "running"], ["PENDING", waiting, "waiting"]];
}

// A connector of a node: "frame: dataframe".
function wordsOfPort({ label, types }) {
  return `${label}: ${types}`;
}
