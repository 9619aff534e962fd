#!/usr/bin/env python3
"""check_page.py FOLDER [PICTURES]: loads FOLDER/report.html in headless Chromium, uses its microscope
as a reader does, and compares its numbers with the library's, FOLDER/microscope.json. Fails at a
console message, an error, or a request. With PICTURES, screenshots at three widths go there. 77: no
Chromium is installed."""
import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

NAMES = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"]
TOLERANCE = 1e-6


class Browser:
    """The DevTools protocol over a pipe: messages end with a zero byte."""

    def __init__(self, program, profile):
        self.to_read, to_write = os.pipe()
        from_read, self.from_write = os.pipe()
        self.write, self.read = os.fdopen(to_write, "wb", 0), os.fdopen(from_read, "rb", 0)

        def descriptors():
            # Both may stand where the others have to go: first out of the way.
            source, sink = os.dup2(self.to_read, 63), os.dup2(self.from_write, 64)
            os.dup2(source, 3)
            os.dup2(sink, 4)

        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
             "--no-first-run", "--hide-scrollbars", f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=descriptors, close_fds=False, stderr=subprocess.DEVNULL)
        os.close(self.to_read)
        os.close(self.from_write)
        self.serial, self.buffer, self.session, self.events = 0, b"", None, []

    def message(self):
        while b"\0" not in self.buffer:
            more = self.read.read(1 << 20)
            if not more:
                raise RuntimeError("the browser has ended")
            self.buffer += more
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.serial += 1
        request = {"id": self.serial, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        self.write.write(json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.serial:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, url):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")
        self.size(1400)
        self.call("Page.navigate", url=url)
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self.message())

    def size(self, width, height=900):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def mouse(self, kind, x, y):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def key(self, key):
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def picture(self, path, expression=None):
        clip = {}
        if expression:
            box = self.value(f"(() => {{ const r = {expression}.getBoundingClientRect();"
                             " return [r.x + scrollX, r.y + scrollY, r.width, r.height]; })()")
            clip = {"clip": dict(zip(["x", "y", "width", "height"], box), scale=1)}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, **clip)
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.process.terminate()
        self.process.wait()


def fail(text):
    sys.exit(f"check_page: {text}")


def center(browser, i):
    return browser.value(f"(() => {{ state.cells[{i}].scrollIntoView({{block: 'center'}});"
                         f" const r = state.cells[{i}].getBoundingClientRect();"
                         " return [r.x + r.width / 2, r.y + r.height / 2]; })()")


def choose(browser, name, value):
    browser.value(f"document.querySelector('input[name={name}][value={value}]').click()")


def slide(browser, samples):
    browser.value(f"{{ const s = document.getElementById('samples'); s.value = {samples};"
                  " s.dispatchEvent(new Event('input', {bubbles: true})); }")


def compare(browser, library):
    """Every view, norm, mode and number of samples."""
    worst = compared = 0
    for wanted in library["results"]:
        view = f"library.views.find((v) => v.name === '{wanted['view']}')"
        if "error" in wanted:
            continue
        got = browser.value(f"(() => {{ const view = {view}; return compute(view.x, {{view, norm: '{wanted['norm']}',"
                            f" training: {str(wanted['training']).lower()}, samples: {wanted['samples']}}}); }})()")
        for quantity in ["mean", "var", "xhat", "dx"]:
            if len(got[quantity]) != len(wanted[quantity]):
                fail(f"{quantity} of {wanted['view']} {wanted['norm']}: {len(got[quantity])} values")
            for k, (a, b) in enumerate(zip(got[quantity], wanted[quantity])):
                if a is None:  # the mean of no values: padding alone
                    if quantity in ["mean", "var"] and not got["sets"][k]["members"]:
                        continue
                    fail(f"{quantity} of {wanted['view']} {wanted['norm']} is no number")
                compared += 1
                worst = max(worst, abs(a - b))
                if abs(a - b) > TOLERANCE:
                    fail(f"{quantity}[{k}] of {wanted['view']}, {wanted['norm']}, training {wanted['training']},"
                         f" {wanted['samples']} samples: {a} here, {b} in the library")
    if compared < 1000:
        fail(f"only {compared} numbers were compared")
    return worst, compared


def drag(browser, i, pixels):
    x, y = center(browser, i)
    browser.mouse("mousePressed", x, y)
    for part in [1, 2, 3, 4]:
        browser.mouse("mouseMoved", x, y - pixels * part / 4)
    browser.mouse("mouseReleased", x, y - pixels)


def moved(browser):
    return browser.value("document.getElementById('moved').textContent")


def use(browser):
    """What a reader does, and sees."""
    # With BN a value of the first digit moves outputs of its channel in all four; with LN in its own digit alone.
    drag(browser, 0, 40)
    if "16 outputs have moved, 12 of them in other samples" not in moved(browser):
        fail(f"after dragging with BN: {moved(browser)}")
    choose(browser, "norm", "LN")
    drag(browser, 0, 40)
    if "16 outputs have moved, 0 of them in other samples" not in moved(browser):
        fail(f"after dragging with LN: {moved(browser)}")
    browser.value("document.getElementById('reset').click()")
    browser.value("state.cells[0].focus()")
    browser.key("ArrowUp")
    if "16 outputs have moved, 0" not in moved(browser):
        fail(f"after a key: {moved(browser)}")
    browser.key("ArrowRight")
    if browser.value("document.activeElement.dataset.i") != "1":
        fail("the right key does not go to the next cell")
    browser.key("Enter")
    if browser.value("state.chosen") != 1:
        fail("Enter does not choose")
    # At inference a value moves its own output alone.
    choose(browser, "norm", "BN")
    choose(browser, "mode", "inference")
    drag(browser, 0, 40)
    if "1 output has moved, 0" not in moved(browser):
        fail(f"at inference: {moved(browser)}")
    if browser.value("document.querySelectorAll('#cells .shares').length") != 0:
        fail("at inference values share statistics")
    choose(browser, "mode", "training")
    # Of two samples x^ is +1 or -1.
    choose(browser, "view", "features")
    slide(browser, 2)
    shown = browser.value("state.cells.map((c) => c.lastChild.textContent)")
    if len(shown) != 8 or set(shown) != {"1.0", "\u22121.0"}:
        fail(f"two samples show {shown}")
    # InstanceNorm of single values: the library's refusal.
    choose(browser, "norm", "IN")
    if not browser.value("document.getElementById('problem').textContent"):
        fail("InstanceNorm of single values is not refused")
    # BN takes later steps in, LN does not.
    choose(browser, "view", "sequences")
    slide(browser, 4)
    for norm, future in [("BN", True), ("LN", False)]:
        choose(browser, "norm", norm)
        if ("future" in browser.value("document.getElementById('shares').textContent")) != future:
            fail(f"the future with {norm}")


def check_page(browser):
    """Links lead somewhere, ids are single, and every picture has words."""
    lost = browser.value("[...document.querySelectorAll('a[href^=\"#\"]')].map((a) => a.getAttribute('href').slice(1))"
                         ".filter((id) => !document.getElementById(id))")
    if lost:
        fail(f"links to nothing: {lost}")
    twice = browser.value("(() => { const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);"
                          " return ids.filter((id, k) => ids.indexOf(id) !== k); })()")
    if twice:
        fail(f"ids that stand twice: {twice[:5]}")
    mute = browser.value("[...document.querySelectorAll('figure svg')].filter((s) => !s.getAttribute('aria-label')).length")
    if mute:
        fail(f"{mute} pictures without words")


def check_width(browser, width):
    browser.size(width)
    wide = browser.value("document.documentElement.scrollWidth")
    if wide > width:
        fail(f"at {width} px the page is {wide} px wide")


def pictures(browser, folder):
    os.makedirs(folder, exist_ok=True)
    for width in [360, 800, 1400]:
        browser.size(width)
        browser.picture(f"{folder}/page-{width}.png", "document.documentElement")
    choose(browser, "view", "sequences")
    choose(browser, "norm", "BN")
    browser.size(800)
    drag(browser, 4, 40)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.picture(f"{folder}/dark-800.png", "document.documentElement")


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if not program:
        print("check_page: skipped, no Chromium is installed")
        sys.exit(77)
    page = folder / "report.html"
    if page.stat().st_size > 3 << 20:
        fail(f"{page} has {page.stat().st_size} bytes")
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(program, profile)
        try:
            browser.open(page.as_uri())
            worst, compared = compare(browser, json.loads((folder / "microscope.json").read_text()))
            use(browser)
            check_page(browser)
            for width in [360, 800, 1400]:
                check_width(browser, width)
            if len(sys.argv) > 2:
                pictures(browser, sys.argv[2])
            for event in browser.events:
                method, parameters = event.get("method", ""), event.get("params", {})
                if method in ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"]:
                    fail(f"the page says {parameters}")
                if method == "Network.requestWillBeSent" and parameters["request"]["url"] != page.as_uri():
                    fail(f"the page asks for {parameters['request']['url']}")
        finally:
            browser.close()
    print(f"check_page: {compared} numbers within {worst:.1e} of the library's; no message, no request")


if __name__ == "__main__":
    main()
