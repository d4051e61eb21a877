// The browser half of the live view of a run. No dependency, no network.
//
// `initialize` runs once for the model and keeps what is known of the run; `render` draws it, once for each place where
// the output is shown. What the kernel sent before the page was ready is lost, so the page asks for a snapshot then, and
// whenever it finds a gap; the kernel sends one now and then unasked, for pages it can't hear. A state never goes back.

const FINAL = new Set(["COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED", "SKIPPED", "CRASHED"]);
const RANK = { PENDING: 0, QUEUED: 1, RUNNING: 2, RETRYING: 3 };
const BAD = new Set(["FAILED", "TIMED_OUT", "CRASHED"]);
const LOG_LIMIT = 20000; // characters of a task's output that are kept
const SHOWN_LIMIT = 20; // displays of a task that are kept
const SHOWN_SIZE_LIMIT = 4000000; // characters of these displays
const MOST_REDRAWN = 100; // lines at a log's end that its task may draw over
const ANSWER_MS = 800; // how long the kernel may take to answer a cancel
const COUNT_ORDER = [
  "COMPLETED", "RUNNING", "RETRYING", "FAILED", "TIMED_OUT", "CRASHED", "CANCELLED", "SKIPPED", "QUEUED", "PENDING",
];

const stores = new WeakMap();

function newer(task, head) {
  if (FINAL.has(task.state)) return FINAL.has(head.state);
  if (FINAL.has(head.state) || head.attempt !== task.attempt) return FINAL.has(head.state) || head.attempt > task.attempt;
  return RANK[head.state] >= RANK[task.state];
}

// The lines of a log, each with its stream, from runs of lines of one stream.
function linesOf(runs) {
  return runs.flatMap(([stream, text]) => text.split("\n").map((line) => [stream, line]));
}

function newest(log) {
  let size = 0;
  let kept = log.length;
  while (kept && size < LOG_LIMIT) size += log[--kept][1].length + 1;
  return log.slice(kept);
}

function storeOf(model) {
  let store = stores.get(model);
  if (store) return store;
  store = { run: {}, tasks: {}, number: 0, skew: 0, views: new Set(), cancelling: false, answered: false };
  stores.set(model, store);

  const tell = (changed) => store.views.forEach((view) => view(changed));
  const load = (snapshot) => {
    if (!snapshot.tasks || snapshot.number < store.number) return;
    store.run = snapshot.run;
    store.tasks = structuredClone(snapshot.tasks);
    for (const task of Object.values(store.tasks)) task.log = linesOf(task.log);
    store.number = snapshot.number;
    tell(null);
  };
  load(model.get("snapshot"));
  model.on("msg:custom", (message) => {
    if (message.op === "acknowledged") store.answered = true;
    if (message.now) store.skew = Date.now() - message.now;
    if (message.op === "snapshot") load(message);
    if (message.op !== "delta" || message.number <= store.number) return;
    if (message.number > store.number + 1) model.send({ op: "ready" });
    store.number = message.number;
    store.run = message.run;
    const changed = new Set(Object.keys(message.tasks));
    for (const [id, head] of Object.entries(message.tasks)) {
      if (newer(store.tasks[id], head)) Object.assign(store.tasks[id], head);
    }
    for (const [id, gone, runs] of message.written) {
      const log = store.tasks[id].log;
      log.splice(Math.max(0, log.length - gone)); // the task has drawn over these lines
      store.tasks[id].log = newest(log.concat(linesOf(runs)));
      changed.add(id);
    }
    for (const [id, preview] of message.shown) {
      const shown = store.tasks[id].shown;
      shown.push(preview);
      let size = shown.reduce((sum, each) => sum + each.content.length, 0);
      while (shown.length > 1 && (shown.length > SHOWN_LIMIT || size > SHOWN_SIZE_LIMIT)) size -= shown.shift().content.length;
      changed.add(id);
    }
    tell(changed);
  });
  model.send({ op: "ready" });
  return store;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function icon(path) {
  const holder = make("span", "dagy-badge-icon");
  holder.setAttribute("aria-hidden", "true");
  holder.innerHTML = '<svg viewBox="0 0 16 16" width="16" height="16"><path fill="none" stroke="currentColor" ' +
    'stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"/></svg>';
  holder.querySelector("path").setAttribute("d", path || "");
  return holder;
}

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

function plain(line) {
  return line.replace(/\u001b\[[0-9;]*m/g, ""); // without colours
}

function lastLine(task) {
  const found = task.log.findLast(([, line]) => plain(line).trim());
  return found ? plain(found[1]).trim() : "";
}

// How far a mapped task is: "3 of 10 items, 1 failed".
function progressOf({ items }) {
  if (!items || items.count === null) return "";
  const number = (each) => each.toLocaleString("en");
  const failed = items.failed ? `${number(items.failed)} failed` : "";
  return [`${number(items.done)} of ${number(items.count)}`, failed].filter(Boolean).join(", ");
}

// Rich output is the user's own, but it may quote data from anywhere: it is shown where no script runs and nothing loads.
function preview({ kind, content }) {
  if (kind === "image") {
    const image = make("img", "dagy-image");
    image.src = content;
    image.alt = "image shown by the task";
    return image;
  }
  if (kind === "text") return make("pre", "dagy-text", content);
  const frame = make("iframe", "dagy-frame-html");
  frame.setAttribute("sandbox", "allow-same-origin");
  frame.title = "output of the task";
  const style = getComputedStyle(document.body);
  const colour = style.getPropertyValue("--jp-content-font-color1") || "inherit";
  frame.srcdoc =
    `<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; ` +
    `style-src 'unsafe-inline'"><style>body{margin:0;font:13px system-ui,sans-serif;color:${colour};` +
    `background:transparent}table{border-collapse:collapse}td,th{padding:3px 8px;text-align:right;` +
    `border-bottom:1px solid rgba(127,127,127,.3)}</style>${content}`;
  frame.addEventListener("load", () => {
    const body = frame.contentDocument?.body;
    if (body) frame.style.height = `${Math.min(420, body.scrollHeight + 4)}px`;
  });
  return frame;
}

// What tells a preview from another, shortly.
function markOf({ content }) {
  return [content.length, content.slice(-60)];
}

// The kernel did not answer although its cell waits for this very run: let the Jupyter server interrupt it.
async function interrupt(kernelId) {
  const config = document.getElementById("jupyter-config-data");
  if (!config || !kernelId) return;
  const { baseUrl = "/", token } = JSON.parse(config.textContent);
  const headers = {};
  const xsrf = document.cookie.match(/\b_xsrf=([^;]*)/);
  if (xsrf) headers["X-XSRFToken"] = xsrf[1];
  if (token) headers.Authorization = `token ${token}`;
  await fetch(`${baseUrl}api/kernels/${encodeURIComponent(kernelId)}/interrupt`, { method: "POST", headers });
}

function render({ model, el }) {
  const store = storeOf(model);
  const looks = model.get("looks");
  const ids = Object.keys(store.tasks);
  el.classList.add("dagy-run");

  const header = make("div", "dagy-header");
  const badge = make("span", "dagy-run-badge");
  const title = make("strong", "dagy-title", model.get("flow_name"));
  const status = make("span", "dagy-status");
  const elapsed = make("span", "dagy-elapsed");
  const counts = make("span", "dagy-counts");
  const cancel = make("button", "dagy-cancel", "Cancel");
  cancel.type = "button";
  cancel.title = "Stop this run";
  header.append(badge, title, status, elapsed, counts, cancel);

  const progress = make("div", "dagy-progress");
  progress.setAttribute("role", "progressbar");
  progress.setAttribute("aria-label", "tasks that have ended");
  progress.setAttribute("aria-valuemin", "0");
  progress.setAttribute("aria-valuemax", String(ids.length));
  const spoken = make("div", "dagy-spoken");
  spoken.setAttribute("aria-live", "polite");

  const graph = make("div", "dagy-picture");
  graph.innerHTML = model.get("picture"); // made by Dagy, every text in it escaped
  const nodes = new Map();
  for (const node of graph.querySelectorAll(".dagy-node")) {
    node.setAttribute("tabindex", "0");
    node.setAttribute("role", "button");
    nodes.set(node.dataset.task, node);
  }
  const svg = graph.querySelector("svg");
  if (svg) svg.style.minWidth = `${Math.round(0.6 * Number(svg.getAttribute("width")))}px`;

  const list = make("div", "dagy-tasks");
  list.setAttribute("role", "group");
  list.setAttribute("aria-label", "tasks");
  const rows = new Map();
  for (const id of ids) {
    const row = make("details", "dagy-task");
    row.dataset.task = id;
    const summary = make("summary");
    const name = make("span", "dagy-task-name", id);
    name.title = id;
    const parts = {
      row,
      badge: make("span", "dagy-task-badge"),
      state: make("span", "dagy-task-state"),
      time: make("span", "dagy-task-time"),
      line: make("span", "dagy-task-line"),
      body: make("div", "dagy-task-body"),
      touched: false, // whether the user has opened or closed it
    };
    summary.append(parts.badge, name, parts.state, parts.time, parts.line);
    row.append(summary, parts.body);
    summary.addEventListener("click", () => { parts.touched = true; });
    row.addEventListener("toggle", () => { if (row.open) drawBody(id); });
    rows.set(id, parts);
    list.append(row);
  }
  el.append(header, progress, graph, list, spoken);

  // Keys pressed in the view are not commands to the notebook.
  el.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") event.stopPropagation();
    const node = event.target.closest?.(".dagy-node");
    if (node && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      select(node.dataset.task);
    }
  });
  graph.addEventListener("click", (event) => {
    const node = event.target.closest(".dagy-node");
    if (node) select(node.dataset.task);
  });
  cancel.addEventListener("click", () => {
    store.cancelling = true;
    model.send({ op: "cancel" });
    drawHeader();
    setTimeout(() => {
      if (!store.answered && model.get("blocking") && !FINAL.has(store.run.state)) interrupt(model.get("kernel_id"));
    }, ANSWER_MS);
  });

  function select(id) {
    const parts = rows.get(id);
    if (!parts) return;
    const { row } = parts;
    parts.touched = true;
    row.open = true;
    row.scrollIntoView({ block: "nearest" });
    row.querySelector("summary").focus({ preventScroll: true });
  }

  function now() {
    return Date.now() - store.skew;
  }

  function timeOf(thing) {
    return thing.started ? duration((thing.ended || now()) - thing.started) : "";
  }

  function drawBadge(holder, state) {
    if (holder.dataset.state === state) return;
    holder.dataset.state = state;
    holder.replaceChildren(icon(looks[state].icon));
  }

  function drawHeader() {
    const state = store.run.state || "PENDING";
    el.dataset.state = state;
    drawBadge(badge, state);
    status.textContent = [looks[state].label, store.run.message].filter(Boolean).join(": ");
    status.title = status.textContent;
    elapsed.textContent = timeOf(store.run);
    const total = {};
    for (const id of ids) total[store.tasks[id].state] = (total[store.tasks[id].state] || 0) + 1;
    const present = COUNT_ORDER.filter((each) => total[each]);
    counts.textContent = present.map((each) => `${looks[each].sign} ${total[each]} ${looks[each].label}`).join("   ");
    const ended = ids.filter((id) => FINAL.has(store.tasks[id].state)).length;
    progress.setAttribute("aria-valuenow", String(ended));
    progress.replaceChildren(...present.map((each) => {
      const part = make("span", "dagy-part");
      part.dataset.state = each;
      part.style.flexGrow = total[each];
      return part;
    }));
    cancel.disabled = store.cancelling || FINAL.has(state);
    cancel.hidden = FINAL.has(state);
    cancel.textContent = store.cancelling ? "Cancelling…" : "Cancel";
  }

  function drawTask(id) {
    const task = store.tasks[id];
    const parts = rows.get(id);
    const before = parts.row.dataset.state;
    parts.row.dataset.state = task.state;
    drawBadge(parts.badge, task.state);
    const attempt = task.attempt > 1 ? `attempt ${task.attempt}` : "";
    const progress = progressOf(task);
    parts.state.textContent = [looks[task.state].label, attempt, progress].filter(Boolean).join(", ");
    parts.state.title = parts.state.textContent;
    parts.time.textContent = timeOf(task);
    parts.line.textContent = (task.state !== "RUNNING" && task.message) || lastLine(task);
    parts.line.title = parts.line.textContent;
    if (BAD.has(task.state) && before !== task.state && !parts.touched) parts.row.open = true;
    if (parts.row.open) drawBody(id);
    const node = nodes.get(id);
    if (!node) return;
    node.dataset.state = task.state;
    node.querySelector(".dagy-icon")?.setAttribute("d", looks[task.state].icon);
    node.setAttribute("aria-label", [`${id}: ${looks[task.state].label}`, progress].filter(Boolean).join(", "));
    const detail = node.querySelector(".dagy-detail");
    const text = [timeOf(task), task.attempt > 1 ? `×${task.attempt}` : ""].filter(Boolean).join(" ");
    if (detail) detail.textContent = progress || (FINAL.has(task.state) && text) || looks[task.state].label;
  }

  function drawBody(id) {
    const task = store.tasks[id];
    const { body } = rows.get(id);
    const isFinal = FINAL.has(task.state);
    const isEmpty = !(task.message || task.log.length || task.shown.length || task.error || task.preview);
    section(body, "message", [task.message], () => [make("div", "dagy-message", task.message)]);
    if (task.items) section(body, "error", [task.error], () => [make("pre", "dagy-error", task.error)]);
    section(body, "log", task.log.slice(-MOST_REDRAWN).concat(task.log.length), () => logOf(id, body));
    section(body, "shown", task.shown.map(markOf), () => task.shown.map(preview));
    if (!task.items) section(body, "error", [task.error], () => [make("pre", "dagy-error", task.error)]);
    section(body, "result", [task.preview && markOf(task.preview)], () => [make("div", "dagy-caption", "result"), preview(task.preview)]);
    const nothing = isFinal ? "no output" : "no output yet";
    section(body, "nothing", [isEmpty && nothing], () => [make("div", "dagy-nothing", nothing)]);
  }

  // Draw a part of a task's panel anew if what it shows has changed; nothing, if that is nothing.
  function section(body, name, shown, draw) {
    const key = JSON.stringify(shown);
    let part = body.querySelector(`:scope > [data-part="${name}"]`);
    if (!part) {
      part = make("div");
      part.dataset.part = name;
      body.append(part);
    }
    if (part.dataset.key === key) return;
    part.dataset.key = key;
    part.replaceChildren(...(shown.some((each) => each) ? draw() : []));
  }

  function logOf(id, body) {
    const before = body.querySelector(".dagy-log");
    const log = make("pre", "dagy-log");
    log.setAttribute("aria-label", `output of ${id}`);
    log.tabIndex = 0;
    let run = null;
    for (const [stream, line] of store.tasks[id].log) {
      if (run?.className !== `dagy-${stream}`) log.append((run = make("span", `dagy-${stream}`)));
      run.append(`${plain(line)}\n`);
    }
    const isAtEnd = !before || before.scrollTop + before.clientHeight >= before.scrollHeight - 4;
    const { scrollTop } = before || {};
    requestAnimationFrame(() => { log.scrollTop = isAtEnd ? log.scrollHeight : scrollTop; });
    return [log];
  }

  function draw(changed) {
    (changed || ids).forEach(drawTask);
    const before = el.dataset.state;
    drawHeader();
    if (before !== el.dataset.state) spoken.textContent = `${model.get("flow_name")}: ${looks[el.dataset.state].label}`;
  }

  store.views.add(draw);
  draw(null);
  const clock = setInterval(() => {
    if (FINAL.has(store.run.state)) return;
    elapsed.textContent = timeOf(store.run);
    for (const id of ids) if (store.tasks[id].state === "RUNNING") rows.get(id).time.textContent = timeOf(store.tasks[id]);
  }, 200);
  return () => {
    store.views.delete(draw);
    clearInterval(clock);
  };
}

export default { initialize: ({ model }) => { storeOf(model); }, render };
