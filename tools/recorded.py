"""The ranked-image browser without a kernel: the real page, and what the widget answered when it was asked beforehand.

`record` asks a widget for every query, every gallery image of its lists and every order. `script` joins that with the
page's own code and a stand-in for the kernel, `recorded.js`, to one script that any browser runs from a file.
"""

import base64
import json
from pathlib import Path
from typing import Any

import reidlib as rl
from reidlib import toy

HERE = Path(__file__).parent
BROWSER = HERE.parent / "reidlib" / "browser"
EXPORT = "export default { render };"  # the last line of the page's code
CROWD = dict(people=14, world=toy.World(alike=0.8))  # few pictures, and hard to tell apart
EXPLAINED = 2  # how many images of each list can be explained


def widget(folder: Path) -> rl.RankedBrowser:
    """A browser of every second query of a small drawn crowd, as the model that comes with the library ranks it."""
    toy.draw(folder / "drawn", **CROWD)
    split, system = rl.load(folder / "drawn"), rl.pretrained("market-laptop", device="cpu")
    query = split.query[::2]
    scores = rl.score(rl.embed(system, query), rl.embed(system, split.gallery), query, split.gallery)
    return rl.RankedBrowser(scores, system=system)


def record(browser: rl.RankedBrowser) -> dict[str, Any]:
    """What the widget answers, as JSON: each image once, and once what all views have in common."""
    images: dict[bytes, int] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return {"image": images.setdefault(value, len(images))}
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items()}
        return [plain(each) for each in value] if isinstance(value, list | tuple) else value

    views, pairs = {}, {}
    for i in range(len(browser.tour.chosen)):
        browser.jump(i)
        views[f"query {i}"] = plain(browser.view)
        listed = [card["index"] for card in browser.view["lists"][0]["cards"]]
        for j in listed[:EXPLAINED]:
            browser.look(j)
            browser.explain()
            pairs[f"query {i}, {j}"] = plain(browser.pair)
        for j in listed:
            browser.make_query(j)
            views[f"gallery image {j}"] = plain(browser.view)
            browser.back()
    orders = {}
    for order in browser.view["orders"]:
        browser.order_by(order)
        orders[order] = browser.tour.chosen.tolist()
    first, *others = views.values()
    common = {name: value for name, value in first.items() if all(view[name] == value for view in others)}
    own = {key: {name: view[name] for name in view if name not in common} for key, view in views.items()}
    encoded = [base64.b64encode(image).decode() for image in images]
    return {"common": common, "views": own, "pairs": pairs, "orders": orders, "images": encoded}


def script(recorded: dict[str, Any]) -> str:
    """The script of the page: the widget's code, what was recorded, and the stand-in for the kernel."""
    code = (BROWSER / "browser.js").read_text("utf-8")
    if not code.rstrip().endswith(EXPORT):
        raise ValueError(
            f"{BROWSER / 'browser.js'} does not end with {EXPORT}; tools/recorded.py takes it for the site"
        )
    data = json.dumps(recorded, separators=(",", ":"), ensure_ascii=False)
    parts = [code.rstrip().removesuffix(EXPORT), f"const recorded = {data};", (HERE / "recorded.js").read_text("utf-8")]
    return "(() => {\n" + "\n".join(parts) + "\n})();\n"
