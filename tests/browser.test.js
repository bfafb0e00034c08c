// The page of RankedBrowser with a fake model and as much of a DOM as it needs: node --test tests/browser.test.js

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { isDeepStrictEqual } from "node:util";

class Element {
  constructor(tag) {
    Object.assign(this, { tagName: tag.toUpperCase(), children: [], attributes: {}, listeners: {}, parentNode: null });
    Object.assign(this, { hidden: false, className: "", value: "", src: "", type: "", text: "" });
  }
  append(...items) {
    for (const item of items) this.adopt(typeof item === "string" ? text(item) : item);
  }
  adopt(item) {
    item.parentNode?.drop(item);
    item.parentNode = this;
    this.children.push(item);
  }
  drop(item) {
    this.children = this.children.filter((child) => child !== item);
    item.parentNode = null;
  }
  replaceChildren(...items) {
    for (const child of this.children) child.parentNode = null;
    this.children = [];
    this.append(...items);
  }
  get textContent() {
    return this.text + this.children.map((child) => child.textContent).join("");
  }
  set textContent(words) {
    this.replaceChildren();
    this.text = words;
  }
  setAttribute(name, value) {
    this.attributes[name] = String(value);
  }
  getAttribute(name) {
    return this.attributes[name] ?? null;
  }
  addEventListener(name, heard) {
    (this.listeners[name] ??= []).push(heard);
  }
  contains(other) {
    return !!other && (other === this || this.contains(other.parentNode));
  }
  dispatch(name, settings = {}) {
    const event = { target: this, stopped: false, prevented: false, ...settings };
    event.stopPropagation = () => (event.stopped = true);
    event.preventDefault = () => (event.prevented = true);
    for (let at = this; at && !event.stopped; at = at.parentNode) at.listeners[name]?.forEach((heard) => heard(event));
    return event;
  }
  click() {
    if (this.type === "checkbox") (this.checked = !this.checked), this.dispatch("change");
    else this.dispatch("click");
  }
  focus() {
    document.activeElement = this;
    this.dispatch("focusin");
  }
  write(words) {
    this.value = words;
    this.dispatch("input");
  }
  blur() {
    this.dispatch("change"); // as if it had been typed in
    this.dispatch("blur");
  }
  all(fits) {
    return [...(fits(this) ? [this] : []), ...this.children.flatMap((child) => child.all(fits))];
  }
  querySelectorAll(tag) {
    return this.all((each) => each.tagName === tag.toUpperCase());
  }
}

const text = (words) => Object.assign(new Element("#text"), { text: words });

class Model {
  state = {};
  sent = [];
  heard = {};
  get(name) {
    return this.state[name];
  }
  on(name, heard) {
    (this.heard[name] ??= new Set()).add(heard);
  }
  off(name, heard) {
    this.heard[name].delete(heard);
  }
  send(message) {
    this.sent.push(message);
  }
  set(values) {
    const changed = Object.keys(values).filter((name) => !isDeepStrictEqual(this.state[name], values[name]));
    Object.assign(this.state, values);
    for (const name of changed) this.heard[`change:${name}`]?.forEach((heard) => heard());
  }
  answer(values = {}) {
    this.set({ ...values, answered: this.sent.at(-1).id });
  }
}

const card = (index, word) => {
  const symbol = { right: "✓", wrong: "✗", ignored: "–" }[word];
  const alt = `rank ${index}, person 0004, camera 2, similarity 0.50, ${word}`;
  const words = { symbol, word, rank: String(index), similarity: "0.50", person: "person 0004", camera: "2" };
  return { ...words, index, alt, image: new DataView(new ArrayBuffer(4)), missing: "" };
};

const view = (changes = {}) => ({
  name: "tiny/query",
  index: 7,
  place: "1 of 3",
  query: { ...card(0, "right"), word: undefined, title: "query 7", alt: "query 7, person 0004, camera 1", file: "a.jpg" },
  back: false,
  lists: [{ result: "AP 50.0 %, first match at rank 2", cards: [card(1, "wrong"), card(2, "right")], beyond: null }],
  status: "query 7: AP 50.0 %. 1 of 3.",
  note: "",
  order: "worst first",
  orders: ["worst first", "by index"],
  k: 10,
  lengths: [5, 10, 20],
  ignored: false,
  filter: { query_camera: null, match_camera: 2, ap_low: 0, ap_high: 1, beyond: null, pid: null, marked: false },
  cameras: [[1, 2], [1, 2]],
  histogram: [1, 0, 0, 0, 0, 2, 0, 0, 0, 0],
  mark: null,
  marked: 0,
  explains: "Similarity map",
  ...changes,
});

let model, root, page, stop;
const found = (fits) => page.all(fits)[0];
const input = (name) => {
  const is = (each) => each.getAttribute("aria-label") === name || each.getAttribute("placeholder") === name;
  return page.querySelectorAll("input").find(is);
};
const named = (words) => found((each) => each.tagName === "BUTTON" && each.textContent === words);
const cards = () => page.all((each) => each.className === "rb-card");
const last = () => {
  const { id, ...rest } = model.sent.at(-1);
  return rest;
};
const press = (key, target = cards()[0], more = {}) => target.dispatch("keydown", { key, ...more });

globalThis.document = { createElement: (tag) => new Element(tag), activeElement: null };
const { default: browser } = await import("../reidlib/browser/browser.js");

beforeEach(() => {
  model = new Model();
  model.set({ view: view(), pair: {}, error: "", answered: "" });
  root = new Element("div");
  stop = browser.render({ model, el: root });
  page = root.children[0];
});

test("what is shown has words for those who do not see it", () => {
  assert.equal(page.getAttribute("aria-label"), "Ranked images of tiny/query");
  const images = page.querySelectorAll("img").filter((img) => !img.hidden && img.src);
  assert.deepEqual(images.map((img) => img.getAttribute("alt")).slice(1), [
    "rank 1, person 0004, camera 2, similarity 0.50, wrong",
    "rank 2, person 0004, camera 2, similarity 0.50, right",
  ]);
  assert.equal(found((each) => each.className === "rb-status").textContent, "query 7: AP 50.0 %. 1 of 3.");
  assert.deepEqual(page.querySelectorAll("li").map((li) => li.className), ["rb-wrong", "rb-right"]);
  assert.match(cards()[0].textContent, /✗ 1/);
});

test("arrows step through queries and move inside a list, one stop of the Tab key", () => {
  cards()[0].focus();
  assert.ok(press("ArrowDown").prevented);
  assert.deepEqual(last(), { action: "step", by: 1 });
  press("ArrowRight");
  assert.equal(document.activeElement, cards()[1]);
  assert.deepEqual(cards().map((each) => each.tabIndex), [-1, 0]);
  press("ArrowRight");
  assert.equal(document.activeElement, cards()[1], "the end of the list");
});

test("every element that takes keys keeps them from JupyterLab", () => {
  const takers = page.all((each) => ["BUTTON", "INPUT", "SELECT", "SECTION"].includes(each.tagName));
  assert.ok(takers.length > 20);
  assert.ok(takers.every((each) => each.getAttribute("data-lm-suppress-shortcuts") === "true"));
});

test("keys belong to a field that is typed in, and to the page when a modifier is down", () => {
  const field = page.querySelectorAll("input").find((each) => each.type === "number");
  for (const key of ["ArrowDown", "p", "m", "5"]) assert.ok(!press(key, field).prevented);
  assert.ok(!press("s", cards()[0], { ctrlKey: true }).prevented);
  assert.equal(model.sent.length, 0);
});

test("one message at a time: steps that wait for an answer become one", () => {
  for (let i = 0; i < 5; i++) press("ArrowDown");
  assert.equal(model.sent.length, 1);
  model.answer({ view: view() });
  assert.deepEqual(last(), { action: "step", by: 4 });
  assert.equal(new Set(model.sent.map((message) => message.id)).size, 2);
  model.answer();
  assert.equal(model.sent.length, 2);
});

test("a click makes an image the query, its button and P open the pair, S explains it, Escape closes and goes back", () => {
  cards()[1].click();
  assert.deepEqual(last(), { action: "make_query", j: 2 });
  model.answer({ view: view({ back: true }) });
  cards()[1].focus();
  press("p");
  assert.deepEqual(last(), { action: "look", j: 2, model: 0 });
  const pair = { cards: [view().query, card(2, "right")], maps: [], parts: [], words: "", says: "Pair: query 7; rank 2." };
  model.answer({ pair });
  const panel = found((each) => each.className === "rb-pair");
  const status = found((each) => each.className === "rb-status");
  assert.ok(!panel.hidden);
  assert.equal(status.textContent, "Pair: query 7; rank 2.");
  press("s");
  assert.deepEqual(last(), { action: "explain" });
  model.answer({ error: "ValueError: no" });
  assert.equal(status.textContent, "Pair: query 7; rank 2.", "an error draws the view again, which is no news");
  model.answer({ pair: { ...pair, maps: [new DataView(new ArrayBuffer(4))], words: "Cosine 0.50.", says: "" }, error: "" });
  assert.match(panel.textContent, /Cosine 0.50/);
  press("Escape");
  assert.deepEqual(last(), { action: "look_away" });
  model.answer({ pair: {} });
  assert.ok(panel.hidden);
  press("Escape");
  assert.deepEqual(last(), { action: "back" });
});

test("parts are bands on both images with a value beside each, and words that say the same", () => {
  const bands = () => page.all((each) => each.className === "rb-bands").map((each) => each.children);
  const sides = () => page.all((each) => each.className.startsWith("rb-side") && each.className.includes("rb-parted"));
  const pair = { cards: [view().query, card(2, "right")], maps: [], parts: [], words: "", says: "" };
  model.set({ view: view({ explains: "Parts" }), pair });
  assert.deepEqual([bands().flat().length, sides().length], [0, 0]);
  named("Parts").click();
  assert.deepEqual(last(), { action: "explain" });
  model.answer({ pair: { ...pair, parts: ["0.83", "-0.05"], words: "Part 1: cosine 0.83." } });
  for (const image of bands()) {
    assert.deepEqual(image.map((each) => each.textContent), ["0.83", "-0.05"]);
    assert.deepEqual(image.map((each) => each.getAttribute("style")), ["--cosine: 0.83", "--cosine: -0.05"]);
  }
  assert.equal(sides().length, 2);
  const words = found((each) => each.className === "rb-words");
  assert.deepEqual([words.textContent, words.getAttribute("role")], ["Part 1: cosine 0.83.", "status"]);
  assert.ok(found((each) => each.className === "rb-scale").hidden, "the scale is of maps");
  model.set({ pair });
  assert.equal(bands().flat().length, 0, "another pair begins without");
});

test("without a model there is nothing to explain a pair with", () => {
  model.set({ view: view({ explains: "" }), pair: { cards: [view().query, card(2, "right")], maps: [], parts: [], words: "", says: "" } });
  assert.ok(page.querySelectorAll("button").find((each) => each.getAttribute("title") === "what made them alike (S)").hidden);
});

test("fields become filters: percent as fractions, an empty one as nothing", () => {
  const change = (name, value) => {
    const field = found((each) => each.getAttribute("aria-label") === name);
    field.value = value;
    field.dispatch("change");
    model.answer({ view: view() });
    return last();
  };
  assert.deepEqual(change("AP from, in %", "30"), { action: "filter", ap_low: 0.3 });
  assert.deepEqual(change("AP to, in %", ""), { action: "filter", ap_high: 1 });
  assert.deepEqual(change("Query camera", "2"), { action: "filter", query_camera: 2 });
  assert.deepEqual(change("Match in camera", ""), { action: "filter", match_camera: null });
  const jump = input("number or name");
  jump.value = "12";
  press("Enter", jump);
  assert.deepEqual(last(), { action: "jump", to: "12" });
  assert.equal(jump.value, "");
  model.answer();
  const bars = found((each) => each.className === "rb-bars").children;
  assert.equal(bars[5].getAttribute("aria-label"), "AP 50 to 60 %: 2 queries");
  bars[5].click();
  assert.deepEqual(last(), { action: "filter", ap_low: 0.5, ap_high: 0.6 });
  model.answer({ view: view({ filter: { ...view().filter, ap_low: 0.5, ap_high: 0.6 } }) });
  assert.equal(bars[5].getAttribute("aria-pressed"), "true");
  assert.deepEqual(bars.map((bar) => bar.tabIndex), [-1, -1, -1, -1, -1, 0, -1, -1, -1, -1]);
  for (const [key, end] of [["ArrowLeft", bars[0]], ["ArrowRight", bars[9]]]) {
    end.focus();
    press(key, end);
    assert.equal(document.activeElement, end, "an arrow at an end stays there");
  }
  bars[5].click();
  assert.deepEqual(last(), { action: "filter", ap_low: 0, ap_high: 1 }, "a second click lifts it");
  model.answer();
  press("c");
  assert.deepEqual(last(), { action: "filter" });
});

test("an error is shown and announced, and what was refused shows again what holds", () => {
  const field = found((each) => each.getAttribute("aria-label") === "Query camera");
  field.value = "9";
  model.set({ error: "ValueError: no query passes" });
  const alert = page.all((each) => each.getAttribute("role") === "alert" && !each.hidden);
  assert.deepEqual(alert.map((each) => each.textContent), ["ValueError: no query passes"]);
  assert.equal(field.value, "");
  model.set({ error: "" });
  assert.ok(alert[0].hidden);
});

test("the same error twice in a row is seen twice", () => {
  const person = page.all((each) => each.tagName === "LABEL" && each.textContent === "Person")[0].children[1];
  for (let i = 0; i < 2; i++) {
    person.write("9999");
    press("Enter", person);
    assert.deepEqual(last(), { action: "filter", pid: 9999 });
    model.answer({ error: "ValueError: no query passes" });
    assert.equal(person.value, "", "the field shows what holds");
  }
});

test("what is being typed stays through an update, a word on a query as long as that query is shown", () => {
  const [from, word] = [input("AP from, in %"), input("a word on it")];
  from.write("3");
  word.write("hal");
  model.set({ view: view({ place: "1 of 2" }) });
  assert.deepEqual([from.value, word.value], ["3", "hal"]);
  model.set({ view: view({ place: "2 of 2", index: 8, mark: "its own" }) });
  assert.deepEqual([from.value, word.value], ["3", "its own"]);
  from.blur();
  assert.deepEqual(last(), { action: "filter", ap_low: 0.03 });
  model.answer({ view: view({ place: "1 of 3" }) });
  assert.deepEqual([from.value, word.value], ["0", ""]);
});

test("a kernel that does not answer is named, with the way to wake it; an answer takes the message away", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const asleep = () => page.all((each) => !each.hidden && each.textContent.startsWith("No answer from the kernel")).length;
  press("ArrowDown");
  press("m");
  mock.timers.tick(7000);
  assert.ok(asleep() > 0);
  assert.equal(model.sent.length, 1);
  press("ArrowDown");
  assert.equal(last().action, "mark", "what waited is forgotten, but no mark");
  mock.timers.tick(7000);
  assert.equal(model.sent.length, 2);
  model.answer();
  assert.equal(asleep(), 0);
  assert.equal(model.sent.length, 2, "a late answer: it was kept after all");
  press("ArrowDown");
  assert.equal(model.sent.length, 3, "and a step may be tried again");
  model.answer({ view: view() });
  model.send = () => {
    throw new Error("the connection is gone");
  };
  press("m");
  assert.ok(asleep() > 0);
  delete model.send;
  model.set({ answered: "of another page" });
  assert.equal(last().action, "mark", "sent as soon as the kernel is heard again");
  mock.timers.reset();
});

test("a step keeps the elements and so the focus; the first match beyond the list comes after a gap", () => {
  cards()[1].focus();
  const kept = cards()[1];
  model.set({ view: view({ lists: [{ result: "AP 9.0 %", cards: [card(5, "wrong"), card(6, "wrong")], beyond: null }] }) });
  assert.equal(cards()[1], kept);
  assert.equal(document.activeElement, kept);
  model.set({ view: view({ lists: [{ result: "AP 1.0 %", cards: [card(5, "wrong")], beyond: card(37, "right") }] }) });
  const row = page.querySelectorAll("ol")[0];
  assert.deepEqual(row.children.map((li) => li.className), ["rb-wrong", "rb-gap", "rb-right"]);
});

test("a second model's list stands below, and its images open pairs of that model", () => {
  const lists = [...view().lists, { result: "other: AP 9.0 %", cards: [card(9, "wrong")], beyond: null }];
  model.set({ view: view({ lists }) });
  assert.equal(page.querySelectorAll("ol").length, 2);
  cards()[2].focus();
  press("p");
  assert.deepEqual(last(), { action: "look", j: 9, model: 1 });
});

test("an image that cannot be read leaves its name", () => {
  const broken = { ...card(1, "wrong"), image: null, missing: "gone.jpg", alt: "rank 1, wrong, no image: gone.jpg" };
  model.set({ view: view({ lists: [{ result: "", cards: [broken], beyond: null }] }) });
  const hole = cards()[0].all((each) => each.className === "rb-hole")[0];
  assert.ok(!hole.hidden);
  assert.equal(hole.textContent, "no image: gone.jpg");
  assert.equal(hole.getAttribute("aria-label"), broken.alt);
});

test("marks: a toggle, a word, and how many lists would be copied", () => {
  named("☆ Mark").click();
  assert.deepEqual(last(), { action: "mark", query: 7, word: "", on: true });
  model.answer({ view: view({ mark: "hidden", marked: 2 }) });
  assert.ok(named("Copy lists of 2 marked"));
  named("★ Marked").click();
  assert.deepEqual(last(), { action: "mark", query: 7, word: "hidden", on: false });
  model.answer({ view: view() });
  const word = input("a word on it");
  word.value = "half";
  const sent = model.sent.length;
  word.dispatch("change");
  assert.equal(model.sent.length, sent, "to leave the field marks nothing");
  press("Enter", word);
  assert.deepEqual(last(), { action: "mark", query: 7, word: "half", on: true });
  model.answer({ view: view({ mark: "half" }) });
  press("l");
  assert.deepEqual(last(), { action: "export_lists" });
});

test("a mark is for the query that is seen, wherever the kernel has gone meanwhile", () => {
  press("ArrowDown");
  press("m");
  model.answer({ view: view({ index: 8 }) });
  assert.deepEqual(last(), { action: "mark", query: 7, word: "", on: true });
});

test("back at the query, the focus of the button that hides goes to the first image", () => {
  model.set({ view: view({ back: true }) });
  cards()[1].focus();
  named("← Back").focus();
  named("← Back").click();
  model.answer({ view: view() });
  assert.equal(document.activeElement, cards()[0]);
});

test("a page that is closed listens no more and holds no pictures", () => {
  stop();
  assert.ok(Object.values(model.heard).every((heard) => heard.size === 0));
  assert.ok(page.querySelectorAll("img").every((img) => !img.src));
});

// the same page for SearchBrowser: its view has a threshold

const answer = (index, word) => ({ ...card(index, "right"), word, symbol: { known: "✓", below: "–", answer: "" }[word] });

const asked = (changes = {}) => ({
  name: "30 enrolled people",
  index: 0,
  place: "1 of 2",
  query: { title: "image 0", file: "a.jpg", person: "anna", camera: "", alt: "image 0, a.jpg", image: null, missing: "" },
  back: false,
  lists: [{ result: "anna", cards: [answer(4, "known"), answer(5, "below")], beyond: null, at: 1, line: "0.60" }],
  status: "image 0: anna. 1 of 2.",
  note: "",
  threshold: 0.6,
  k: 5,
  lengths: [5, 10, 20],
  explains: "Why alike?",
  ...changes,
});

const search = (changes) => {
  model = new Model();
  model.set({ view: asked(changes), pair: {}, error: "", answered: "" });
  root = new Element("div");
  stop = browser.render({ model, el: root });
  page = root.children[0];
};

test("the threshold is a line between the answers, and no line where there is none", () => {
  search();
  const row = () => page.querySelectorAll("li").map((li) => li.className || "gap");
  assert.deepEqual(row(), ["rb-known", "rb-gap rb-line", "rb-below"]);
  assert.equal(page.getAttribute("aria-label"), "Search among 30 enrolled people");
  model.set({ view: asked({ lists: [{ ...asked().lists[0], at: 0 }] }) });
  assert.deepEqual(row(), ["rb-gap rb-line", "rb-known", "rb-below"]);
  const cards = [answer(4, "answer"), answer(5, "answer")];
  model.set({ view: asked({ threshold: null, lists: [{ result: "", cards, beyond: null }] }) });
  assert.deepEqual(row(), ["rb-answer", "rb-answer"]);
  assert.ok(!page.textContent.includes("camera"), "an image of one's own has no camera");
});

test("the threshold is a field, and an empty one is no threshold", () => {
  search();
  const least = page.querySelectorAll("input").find((each) => each.type === "number");
  assert.equal(least.value, "0.6");
  least.write("0.75");
  press("Enter", least);
  assert.deepEqual(last(), { action: "known_from", value: 0.75 });
  model.answer({ view: asked({ threshold: 0.75 }) });
  least.write("");
  press("Enter", least);
  assert.deepEqual(last(), { action: "known_from", value: null });
});

test("a dropped image is sent as text, one after the other, and one that is too large only by its name", () => {
  search();
  globalThis.FileReader = class {
    readAsDataURL(file) {
      this.result = `data:image/jpeg;base64,${file.name}`;
      this.onload();
    }
  };
  const files = [{ name: "a.jpg", size: 10 }, { name: "b.jpg", size: 9e6 }];
  assert.ok(page.dispatch("drop", { dataTransfer: { files } }).prevented, "the browser would open the file");
  assert.ok(page.dispatch("dragover").prevented);
  assert.deepEqual(last(), { action: "ask", name: "a.jpg", data: "a.jpg" });
  model.answer();
  assert.deepEqual(last(), { action: "ask", name: "b.jpg", data: null, size: 9e6 });
});

test("dropped images outlive a kernel that is busy", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  search();
  page.dispatch("drop", { dataTransfer: { files: ["a.jpg", "b.jpg", "c.jpg"].map((name) => ({ name, size: 10 })) } });
  mock.timers.tick(7000);
  const { id } = model.sent[0];
  press("ArrowDown");
  assert.equal(model.sent[1].id, id, "sent again, it keeps its id: the kernel does it once");
  for (const name of ["a.jpg", "b.jpg", "c.jpg"]) {
    assert.deepEqual(last().name, name);
    model.answer();
  }
  mock.timers.reset();
});

test("keys of the other page do nothing, those of both act", () => {
  search();
  for (const key of ["m", "i", "f", "l", "c"]) assert.ok(!press(key).prevented);
  assert.equal(model.sent.length, 0);
  cards()[1].click();
  assert.deepEqual(last(), { action: "make_query", j: 5 });
  model.answer();
  cards()[1].focus();
  press("p");
  assert.deepEqual(last(), { action: "look", j: 5, model: 0 });
});
