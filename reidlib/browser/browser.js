// The page of RankedBrowser and SearchBrowser: draws Python's `view` and `pair` and sends back what the reader does; it decides nothing.
// Elements are made once and then filled, so that the focus stays where it is when the query changes.

const PATIENCE = 6000; // ms without an answer, after which the reader is told how to wake the browser
const ASLEEP =
  "No answer from the kernel. If it is busy, wait; if it was restarted, run the cells above and this one again. " +
  "The figures of the notebook stay as they are.";
const LEGEND = "✓ solid: same person · ✗ dashed: someone else · – dotted: ignored by the metric";
const HINT =
  "Keys: ↑ ↓ queries · ← → images · Enter make it the query · P pair · S why alike · M mark · I ignored · " +
  "F figure · L copy lists · G go to · C clear filter · Esc back";
const SEARCH_LEGEND = "✓ solid: similar enough · – dotted: below the threshold, which stands between them";
const SEARCH_HINT =
  "Drop an image here, or choose one. Keys: ↑ ↓ images · ← → answers · Enter search with it · P pair · S why alike · G go to · Esc close";
const LARGEST = 6e6; // bytes of a dropped file: a message of 10 MB breaks Jupyter's connection
const STEPS = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 };
const PROPERTIES = ["className", "textContent", "hidden", "value", "checked", "tabIndex", "type", "src", "htmlFor"];

function node(tag, settings = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (PROPERTIES.includes(name)) made[name] = value;
    else made.setAttribute(name, value);
  }
  // JupyterLab handles arrow keys and letters itself unless the element that has the focus forbids it
  if (["button", "input", "select", "section"].includes(tag)) made.setAttribute("data-lm-suppress-shortcuts", "true");
  made.append(...children);
  return made;
}

function button(text, onclick, settings = {}) {
  return node("button", { type: "button", textContent: text, onclick, ...settings });
}

function labelled(text, control) {
  const words = node("span", { textContent: text });
  return node("label", {}, ...(control.type === "checkbox" ? [control, words] : [words, control]));
}

function choose(select, choices, value) {
  // choices: [value, text] pairs; options are replaced only if they differ, since that closes an open menu
  const key = JSON.stringify(choices);
  if (select.made !== key) {
    select.replaceChildren(...choices.map(([value, text]) => node("option", { value, textContent: text })));
    select.made = key;
  }
  select.value = value;
}

// What is being typed survives updates until it is sent or the field is left.
function draft(field, ...ends) {
  field.addEventListener("input", () => (field.draft = true));
  for (const end of ends) field.addEventListener(end, () => (field.draft = false));
  return field;
}

function put(field, value) {
  if (!field.draft) field.value = value;
}

function fill(img, data, type) {
  if (img.src) URL.revokeObjectURL(img.src);
  img.src = data ? URL.createObjectURL(new Blob([data], { type })) : "";
  img.hidden = !data;
}

// An image, or its name if it cannot be read.
function picture() {
  const img = node("img");
  const hole = node("span", { className: "rb-hole" });
  const update = (card) => {
    fill(img, card.image, "image/jpeg");
    img.setAttribute("alt", card.alt);
    hole.hidden = !card.missing;
    hole.textContent = card.missing ? `no image: ${card.missing}` : "";
    hole.setAttribute("role", "img");
    hole.setAttribute("aria-label", card.alt);
  };
  return { el: node("span", { className: "rb-picture" }, img, hole), update };
}

const where = (card, word) => (card.camera ? [word + card.camera] : []);

function caption(card) {
  const mark = node("b", { textContent: `${card.symbol} ${card.rank}`.trim() });
  const lines = [card.person.replace("person ", ""), [card.similarity, ...where(card, "c")].join(" · ")].map((text) => node("span", { textContent: text }));
  return [mark, ...lines];
}

// One image of a list: a button that makes it the query, and below it one that opens the pair.
function listItem(list, send) {
  const image = picture();
  const under = node("span", { className: "rb-caption", "aria-hidden": "true" });
  let index;
  const query = button("", () => send({ action: "make_query", j: index }), { className: "rb-card", title: "make it the query" });
  query.append(image.el, under);
  const pair = button("pair", () => send({ action: "look", j: index, model: list }), { className: "rb-look", tabIndex: -1 });
  const el = node("li", {}, query, pair);
  const update = (card) => {
    index = card.index;
    el.className = `rb-${card.word}`;
    image.update(card);
    under.replaceChildren(...caption(card));
    pair.setAttribute("aria-label", `pair: ${card.alt}`);
  };
  return { el, query, pair, update };
}

// The list of one model: a single stop of the Tab key; the left and right keys move inside.
function rankedList(number, send) {
  const head = node("p", { className: "rb-result" });
  const gap = node("li", { className: "rb-gap", "aria-hidden": "true" }); // "⋯", or the line of a threshold
  const row = node("ol", { role: "list" });
  const items = [];
  let current = 0;
  const shown = () => items.filter((each) => each.el.parentNode);
  const stop = () => shown().forEach((each, i) => (each.query.tabIndex = i === current ? 0 : -1));
  const move = (by) => {
    current = Math.min(Math.max(current + by, 0), shown().length - 1);
    stop();
    shown()[current]?.query.focus();
  };
  row.addEventListener("focusin", (event) => {
    const at = shown().findIndex((each) => each.el.contains(event.target));
    if (at >= 0) (current = at), stop();
  });
  const update = (list) => {
    const cards = [...list.cards, ...(list.beyond ? [list.beyond] : [])];
    while (items.length < cards.length) items.push(listItem(number, send));
    cards.forEach((card, i) => items[i].update(card));
    const elements = items.slice(0, cards.length).map((each) => each.el);
    if (list.beyond || list.line) elements.splice(list.at ?? list.cards.length, 0, gap);
    gap.textContent = list.line ?? "⋯";
    gap.className = list.line ? "rb-gap rb-line" : "rb-gap";
    // only a list of another length is laid out anew; otherwise the elements stay, and the focus with them
    if (elements.length !== row.children.length || elements.some((each, i) => row.children[i] !== each)) {
      const focused = shown()[current]?.query === document.activeElement;
      row.replaceChildren(...elements);
      if (focused) move(0);
    }
    current = Math.min(current, cards.length - 1);
    head.textContent = list.result;
    row.setAttribute("aria-label", `Ranked list. ${list.result}`);
    stop();
  };
  const look = () => shown()[current]?.pair.click();
  return { el: node("div", { className: "rb-list" }, head, row), row, update, move, look };
}

// A part of an image, and at its right its cosine similarity to the other image's part.
function band(cosine) {
  return node("span", { style: `--cosine: ${cosine}` }, node("b", { textContent: cosine }));
}

function pairPanel(send) {
  const sides = [picture(), picture()];
  const heats = sides.map(() => node("img", { className: "rb-heat", alt: "", hidden: true }));
  const bands = sides.map(() => node("span", { className: "rb-bands", "aria-hidden": "true" })); // the words repeat it
  const captions = sides.map(() => node("span", { className: "rb-caption", "aria-hidden": "true" }));
  const figures = sides.map((side, i) => node("div", { className: "rb-side" }, side.el, captions[i]));
  sides.forEach((side, i) => side.el.append(heats[i], bands[i]));
  const words = node("p", { className: "rb-words", role: "status" });
  const scale = node("p", { className: "rb-scale", hidden: true }, "little ", node("i"), " much of the similarity");
  const explain = button("", () => send({ action: "explain" }), { title: "what made them alike (S)" });
  const close = button("Close", () => send({ action: "look_away" }), { title: "close the pair (Esc)" });
  const text = node("div", { className: "rb-text" }, node("div", { className: "rb-row" }, explain, close), words, scale);
  const el = node("section", { className: "rb-pair", "aria-label": "Pair", hidden: true }, ...figures, text);
  const update = (pair, explains) => {
    el.hidden = !pair.cards;
    explain.hidden = !explains;
    explain.textContent = explains;
    if (!pair.cards) return;
    pair.cards.forEach((card, i) => {
      sides[i].update(card);
      figures[i].className = `rb-side rb-${card.word || "query"}${pair.parts.length ? " rb-parted" : ""}`;
      const lines = card.word ? caption(card) : [node("b", { textContent: card.title }), card.person, ...where(card, "camera ")];
      captions[i].replaceChildren(...lines.map((line) => (line.append ? line : node("span", { textContent: line }))));
      fill(heats[i], pair.maps[i], "image/png");
      bands[i].replaceChildren(...pair.parts.map(band));
    });
    scale.hidden = !pair.maps.length;
    words.textContent = pair.words;
  };
  return { el, update };
}

function bars(send) {
  const low = (i) => i / 10;
  const within = (i) => (where.ap_low > 0 || where.ap_high < 1) && where.ap_low <= low(i) && low(i + 1) <= where.ap_high;
  let where = {};
  const stop = (at) => all.forEach((bar) => (bar.tabIndex = bar === at ? 0 : -1));
  const pick = (i) => {
    stop(all[i]);
    const alone = where.ap_low === low(i) && where.ap_high === low(i + 1);
    send({ action: "filter", ap_low: alone ? 0 : low(i), ap_high: alone ? 1 : low(i + 1) });
  };
  const all = Array.from({ length: 10 }, (_, i) => button("", () => pick(i), { tabIndex: i ? -1 : 0 }));
  const el = node("div", { className: "rb-bars", role: "toolbar", "aria-label": "Histogram of AP" }, ...all);
  el.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.stopPropagation(); // at an end, too: the page takes arrows for the images of a list
    const next = all[all.indexOf(event.target) + by];
    if (!next) return;
    stop(next);
    next.focus();
  });
  const update = (counts, filter) => {
    where = filter;
    all.forEach((bar, i) => {
      const words = `AP ${10 * i} to ${10 * i + 10} %: ${counts[i]} ${counts[i] === 1 ? "query" : "queries"}`;
      bar.setAttribute("aria-label", words);
      bar.setAttribute("title", words);
      bar.setAttribute("aria-pressed", String(within(i)));
      bar.setAttribute("style", `--part: ${counts[i] / Math.max(1, ...counts)}`);
    });
  };
  return { el, update };
}

function filters(send) {
  const filter = (name, read) => ({ onchange: (event) => send({ action: "filter", [name]: read(event.target) }) });
  const amount = (settings) => draft(node("input", { type: "number", ...settings }), "change", "blur");
  const number = (scale) => (input) => (input.value.trim() === "" ? null : Number(input.value) / scale);
  const fields = {
    query_camera: node("select", { "aria-label": "Query camera", ...filter("query_camera", number(1)) }),
    match_camera: node("select", { "aria-label": "Match in camera", ...filter("match_camera", number(1)) }),
    beyond: amount({ min: 1, "aria-label": "First match beyond rank", ...filter("beyond", number(1)) }),
    pid: amount({ min: 1, ...filter("pid", number(1)) }),
    ap_low: amount({ min: 0, max: 100, "aria-label": "AP from, in %", ...filter("ap_low", (input) => number(100)(input) ?? 0) }),
    ap_high: amount({ min: 0, max: 100, "aria-label": "AP to, in %", ...filter("ap_high", (input) => number(100)(input) ?? 1) }),
  };
  const marked = node("input", { type: "checkbox", ...filter("marked", (input) => input.checked) });
  const clear = button("Clear", () => send({ action: "filter" }), { title: "show all queries (C)" });
  const histogram = bars(send);
  const el = node(
    "div",
    { className: "rb-row", role: "group", "aria-label": "Filter" },
    labelled("Camera", fields.query_camera),
    labelled("match in", fields.match_camera),
    labelled("First match beyond", fields.beyond),
    labelled("Person", fields.pid),
    labelled("AP", fields.ap_low),
    labelled("to", fields.ap_high),
    node("span", { textContent: "%", className: "rb-unit", "aria-hidden": "true" }),
    histogram.el,
    labelled("Marked", marked),
    clear,
  );
  const update = (view) => {
    const where = view.filter;
    ["query_camera", "match_camera"].forEach((name, i) => {
      choose(fields[name], [["", "any"], ...view.cameras[i].map((camera) => [String(camera), String(camera)])], String(where[name] ?? ""));
    });
    for (const name of ["beyond", "pid"]) put(fields[name], where[name] ?? "");
    for (const name of ["ap_low", "ap_high"]) put(fields[name], String(Math.round(100 * where[name])));
    marked.checked = where.marked;
    histogram.update(view.histogram, where);
  };
  return { el, update, clear };
}

// Steps, the place among the queries, a field to go to one, and the length of a list; `own` are controls of one page.
function moves(send, label, own) {
  const at = node("b", { className: "rb-place" });
  const jump = node("input", {
    size: 13,
    placeholder: "number or name",
    onchange: () => jump.value.trim() && (send({ action: "jump", to: jump.value }), (jump.value = "")),
  });
  const length = node("select", { onchange: () => send({ action: "lists", k: Number(length.value) }) });
  const el = node(
    "div",
    { className: "rb-row", role: "group", "aria-label": label },
    button("↑ Previous", () => send({ action: "step", by: -1 })),
    button("↓ Next", () => send({ action: "step", by: 1 })),
    at,
    labelled("Go to", jump),
    labelled("Images", length),
    ...own,
  );
  const update = (view) => {
    at.textContent = view.place;
    choose(length, view.lengths.map((k) => [String(k), String(k)]), String(view.k));
  };
  return { el, update, jump };
}

function controls(send) {
  const order = node("select", { onchange: () => send({ action: "order_by", order: order.value }) });
  const ignored = node("input", {
    type: "checkbox",
    onchange: () => send({ action: "lists", ignored: ignored.checked }),
  });
  const common = moves(send, "Queries", [labelled("Order", order), labelled("Show ignored", ignored)]);
  const update = (view) => {
    common.update(view);
    choose(order, view.orders.map((name) => [name, name]), view.order);
    ignored.checked = view.ignored;
  };
  return { ...common, update, ignored };
}

// Of SearchBrowser: images of the reader's own, and the threshold.
function asking(send) {
  const ask = (file) => {
    if (file.size > LARGEST) return send({ action: "ask", name: file.name, data: null, size: file.size });
    const reader = new FileReader();
    reader.onload = () => send({ action: "ask", name: file.name, data: reader.result.split(",")[1] ?? "" });
    reader.readAsDataURL(file);
  };
  const all = (files) => [...files].forEach(ask);
  const chosen = node("input", { type: "file", accept: "image/*", multiple: "", onchange: () => (all(chosen.files), (chosen.value = "")) });
  const value = () => (least.value.trim() === "" ? null : Number(least.value));
  const least = node("input", { type: "number", step: 0.01, onchange: () => send({ action: "known_from", value: value() }) });
  draft(least, "change", "blur");
  const common = moves(send, "Images", [labelled("Known from", least), labelled("Choose", chosen)]);
  const update = (view) => {
    common.update(view);
    put(least, view.threshold === null ? "" : String(Math.round(1000 * view.threshold) / 1000));
  };
  return { ...common, update, all };
}

function keeping(send) {
  let index; // of the query that the reader sees; the kernel may already be at another
  const marked = () => mark.getAttribute("aria-pressed") === "true";
  const keep = (on) => {
    word.draft = false;
    send({ action: "mark", query: index, word: word.value, on });
  };
  const word = draft(node("input", { size: 18, placeholder: "a word on it", onchange: () => marked() && keep(true) }));
  word.addEventListener("keydown", (event) => event.key === "Enter" && !marked() && keep(true)); // leaving the field marks nothing
  const mark = button("☆ Mark", () => keep(!marked()));
  const lists = button("", () => send({ action: "export_lists" }), { title: "copy images into folders (L)" });
  const figure = button("Save figure", () => send({ action: "export_figure" }));
  const el = node(
    "div",
    { className: "rb-row", role: "group", "aria-label": "Keep" },
    mark,
    labelled("Word", word),
    figure,
    lists,
  );
  const update = (view) => {
    const on = view.mark !== null;
    mark.textContent = on ? "★ Marked" : "☆ Mark";
    mark.setAttribute("aria-pressed", String(on));
    if (view.index !== index) word.draft = false; // it belonged to the previous query
    index = view.index;
    put(word, view.mark ?? "");
    lists.textContent = view.marked ? `Copy lists of ${view.marked} marked` : "Copy this list";
  };
  return { el, update, mark, lists };
}

function queryCard(send) {
  const image = picture();
  const under = node("span", { className: "rb-caption", "aria-hidden": "true" });
  const back = button("← Back", () => send({ action: "back" }), { title: "back to the query (Esc)" });
  const el = node("div", { className: "rb-query" }, node("div", { className: "rb-side rb-query" }, image.el, under), back);
  const update = (view) => {
    const lines = [view.query.person, ...where(view.query, "camera ")].map((text) => node("span", { textContent: text }));
    image.update(view.query);
    el.setAttribute("title", view.query.file);
    under.replaceChildren(node("b", { textContent: view.query.title }), ...lines);
    back.hidden = !view.back;
  };
  return { el, update, back };
}

// Sends one action at a time, so that a held key does not fill the kernel's queue: waiting steps are combined into one.
// If no answer comes, waiting actions are dropped except marks, which name their query, and dropped images: the next
// action sends them again.
function outbox(model, asleep) {
  const me = Math.random().toString(36).slice(2);
  const queue = [];
  let waiting = null;
  let count = 0;
  let timer;
  const next = () => {
    if (waiting || !queue.length) return;
    waiting = { id: `${me}:${count++}`, ...queue.shift() }; // sent again, it keeps its id
    timer = setTimeout(giveUp, PATIENCE);
    try {
      model.send(waiting);
    } catch {
      giveUp(); // the connection is gone
    }
  };
  const giveUp = () => {
    clearTimeout(timer);
    queue.unshift(waiting);
    queue.splice(0, queue.length, ...queue.filter((action) => ["mark", "ask"].includes(action.action)));
    waiting = null;
    asleep(true);
  };
  const send = (action) => {
    const last = queue.at(-1);
    if (action.action === "step" && last?.action === "step") last.by += action.by;
    else queue.push({ ...action });
    next();
  };
  const answered = () => {
    asleep(false);
    if (queue[0]?.id === model.get("answered")) queue.shift(); // a late answer
    if (waiting && model.get("answered") !== waiting.id) return;
    clearTimeout(timer);
    waiting = null;
    next();
  };
  return { send, answered, stop: () => clearTimeout(timer) };
}

function render({ model, el }) {
  const sleeping = node("p", { className: "rb-error", role: "alert", hidden: true, textContent: ASLEEP });
  const { send, answered, stop } = outbox(model, (asleep) => (sleeping.hidden = !asleep));
  const searching = "threshold" in model.get("view");
  const nothing = () => ({ el: "", update: () => {} });
  const parts = searching ? [asking, nothing, queryCard, pairPanel, nothing] : [controls, filters, queryCard, pairPanel, keeping];
  const [top, filter, query, pair, keep] = parts.map((make) => make(send));
  const error = node("p", { className: "rb-error", role: "alert", hidden: true });
  const status = node("p", { className: "rb-status", role: "status" }); // for screen readers; `note` is the part that is also visible
  const note = node("p", { className: "rb-note", "aria-hidden": "true" });
  const lists = [];
  let spoken; // the status last announced: drawing the same view again announces nothing
  const listed = node("div", { className: "rb-lists" });
  const stage = node("div", { className: "rb-stage" }, query.el, listed);
  const hints = (searching ? [SEARCH_LEGEND, SEARCH_HINT] : [LEGEND, HINT]).map((text) => node("p", { className: "rb-hint", textContent: text }));
  const root = node(
    "section",
    { className: "reid-browser", tabIndex: -1 },
    ...[top.el, filter.el, stage, pair.el, keep.el, error, sleeping, status, note, ...hints],
  );

  const drawView = () => {
    const view = model.get("view");
    root.setAttribute("aria-label", searching ? `Search among ${view.name}` : `Ranked images of ${view.name}`);
    while (lists.length < view.lists.length) {
      lists.push(rankedList(lists.length, send));
      listed.append(lists.at(-1).el);
    }
    view.lists.forEach((list, i) => lists[i].update(list));
    const leaving = document.activeElement === query.back && !view.back;
    [top, filter, query, keep].forEach((part) => part.update(view));
    if (leaving) lists[0].move(-Infinity); // a hidden button loses the focus
    if (view.status !== spoken) status.textContent = spoken = view.status;
    note.textContent = view.note;
    root.setAttribute("style", `--columns: ${Math.min(view.k, 10)}`);
  };
  const drawPair = () => {
    const hidden = pair.el.hidden;
    const focused = pair.el.contains(document.activeElement);
    pair.update(model.get("pair"), model.get("view").explains);
    if (model.get("pair").says) status.textContent = model.get("pair").says;
    if (focused && !hidden && pair.el.hidden) lists[0].move(0);
  };
  const drawError = () => {
    error.textContent = model.get("error");
    error.hidden = !model.get("error");
    drawView(); // a field whose value was refused shows the current one again
  };

  const heed = () => {
    answered();
    if (model.get("error")) drawError(); // a repeated error is no change event
  };

  const escape = () => {
    if (!pair.el.hidden) send({ action: "look_away" });
    else if (!query.back.hidden) send({ action: "back" });
    else root.focus();
  };
  const inList = () => lists.find((list) => list.row.contains(document.activeElement)) ?? lists[0];
  const browsing = {
    m: () => keep.mark.click(),
    i: () => top.ignored.click(),
    f: () => send({ action: "export_figure" }),
    l: () => keep.lists.click(),
    c: () => filter.clear.click(),
  };
  const letters = {
    ArrowLeft: () => inList().move(-1),
    ArrowRight: () => inList().move(1),
    p: () => inList().look(),
    s: () => send({ action: "explain" }),
    g: () => top.jump.focus(),
    ...(searching ? {} : browsing),
  };
  const commit = (field) => (field.blur(), field.focus()); // makes the field report its change, since JupyterLab intercepts Enter
  const typing = (target) => target.tagName === "SELECT" || (target.tagName === "INPUT" && target.type !== "checkbox");
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Enter" && event.target.tagName === "INPUT") return commit(event.target);
    const act = event.key === "Escape" ? escape : typing(event.target) ? null : letters[event.key.toLowerCase()] ?? letters[event.key];
    const by = typing(event.target) ? 0 : STEPS[event.key];
    if (by) send({ action: "step", by });
    else if (act) act();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  if (searching) {
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => (event.preventDefault(), top.all(event.dataTransfer.files)));
  }

  const wake = () => send({ action: "refresh" }); // the connection changed: see whether the kernel answers
  const heard = { view: drawView, pair: drawPair, error: drawError, answered: heed };
  for (const [name, draw] of Object.entries(heard)) model.on(`change:${name}`, draw);
  model.on("comm_live_update", wake);
  drawError();
  drawPair();
  el.append(root);
  return () => {
    for (const [name, draw] of Object.entries(heard)) model.off(`change:${name}`, draw);
    model.off("comm_live_update", wake);
    stop();
    root.querySelectorAll("img").forEach((img) => fill(img, null));
  };
}

export default { render };
