"""Letters of the built site that are hard to read: python tools/contrast.py (after make docs; it takes a Chromium).

Every text of every page, light and dark, is compared with what is painted behind it, by the formula of WCAG 2. It
wants a ratio of 4.5, and 3 of large letters.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "build" / "site"
MEASURE = """() => {
    const numbers = (colour) => {
        const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
        return colour.startsWith("color(") ? [255 * r, 255 * g, 255 * b, a] : [r, g, b, a];
    };
    const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
    const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = (el) => {
        const layers = [];
        for (; el; el = el.parentElement) layers.push(numbers(getComputedStyle(el).backgroundColor));
        return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
    };
    const faint = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const el = texts.currentNode.parentElement, words = texts.currentNode.textContent.trim();
        if (!words || !el.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
        const style = getComputedStyle(el), paper = behind(el);
        const [a, b] = [light(over(numbers(style.color), paper)), light(paper)];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        const what = `${el.tagName.toLowerCase()}.${[...el.classList].join(".")}: ${style.color}`;
        if (ratio < (large ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)} ${what}, as in "${words.slice(0, 30)}"`);
    }
    return faint;
}"""


def faint(site: Path = SITE) -> dict[str, str]:
    """Each kind of letters that are hard to read, and the page where it was seen first."""
    sys.path.insert(0, str(ROOT / "tests"))
    import front_ends

    found: dict[str, str] = {}
    with front_ends.chromium() as page:
        page.route("**/*", lambda route: route.continue_() if route.request.url.startswith("file:") else route.abort())
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for file in sorted(site.rglob("*.html")):
                if "_static" not in file.parts:
                    page.goto(file.as_uri())
                    page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
                    page.add_style_tag(content="* { transition: none !important }")
                    for kind in page.evaluate(MEASURE):
                        found.setdefault(f"{scheme} {kind}", file.relative_to(site).as_posix())
    return found


if __name__ == "__main__":
    kinds = faint()
    sys.stdout.writelines(f"{page}: {kind}\n" for kind, page in kinds.items())
    sys.exit(bool(kinds))
