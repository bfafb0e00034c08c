// A stand-in for the kernel behind the page of the ranked-image browser: it answers from `recorded`, which
// tools/recorded.py made by asking the real widget. What was not asked then is refused with a sentence.

const REFUSED = "This page has no kernel, only recorded answers. Notebook 05 has the live browser, where this works.";

function revived(value) {
  if (Array.isArray(value)) return value.map(revived);
  if (!value || typeof value !== "object") return value;
  if ("image" in value && Object.keys(value).length === 1) {
    return Uint8Array.from(atob(recorded.images[value.image]), (letter) => letter.charCodeAt(0));
  }
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, revived(each)]));
}

function standIn() {
  const heard = {};
  const state = { view: null, pair: {}, error: "", answered: "" };
  let order = recorded.common.order;
  let position = 0;
  let trail = []; // gallery images that were made the query, the last one shown

  const chosen = () => recorded.orders[order];
  const key = () => (trail.length ? `gallery image ${trail.at(-1)}` : `query ${chosen()[position]}`);
  const show = () => {
    const own = recorded.views[key()];
    const place = `${position + 1} of ${chosen().length}`;
    const status = own.status.replace(own.place, place);
    state.pair = {};
    state.view = revived({ ...recorded.common, ...own, order, place, status, back: trail.length > 0 });
  };
  const go = (to) => {
    if (!(to >= 0 && to < chosen().length)) throw Error(REFUSED);
    position = to;
    trail = [];
    show();
  };
  const actions = {
    step: ({ by }) => go(Math.min(Math.max(position + by, 0), chosen().length - 1)),
    jump: ({ to }) => go(chosen().indexOf(Number(to))),
    order_by: (message) => {
      order = message.order;
      go(0);
    },
    make_query: ({ j }) => {
      if (!recorded.views[`gallery image ${j}`]) throw Error(REFUSED);
      trail.push(j);
      show();
    },
    back: () => {
      trail.pop();
      show();
    },
    look: ({ j, model }) => {
      const [list] = state.view.lists;
      const card = [...list.cards, list.beyond].find((each) => each?.index === j);
      const cards = [state.view.query, card];
      const says = `Pair: ${cards.map((each) => each.alt).join("; ")}.`;
      state.pair = { index: j, model, cards, maps: [], parts: [], words: "", says };
    },
    look_away: () => (state.pair = {}),
    explain: () => {
      const explained = recorded.pairs[`${key()}, ${state.pair.index}`];
      if (!explained) throw Error(REFUSED);
      state.pair = revived(explained);
    },
    refresh: show,
  };
  const send = ({ id, action, ...rest }) => {
    const before = { ...state };
    state.error = "";
    try {
      if (!actions[action]) throw Error(REFUSED);
      actions[action](rest);
    } catch (error) {
      state.error = error.message;
    }
    state.answered = id;
    const changed = Object.keys(state).filter((name) => state[name] !== before[name]);
    setTimeout(() => changed.forEach((name) => heard[name]?.()));
  };
  show();
  const on = (event, act) => (heard[event.replace("change:", "")] = act);
  return { get: (name) => state[name], on, off: () => {}, send };
}

for (const el of document.querySelectorAll(".recorded-browser")) {
  const theme = () => el.setAttribute("theme", document.documentElement.dataset.theme ?? "light");
  new MutationObserver(theme).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  theme();
  render({ model: standIn(), el });
}
