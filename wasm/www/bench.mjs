// Speed in Chromium: `node bench.mjs race STEPS` prints rounds a second of the page's first race, as wasm/examples/race.rs counts
// them; `node bench.mjs page` prints frames and rounds a second of the page itself, at 300 rounds a second and at full speed.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "@playwright/test";

const [what, count] = process.argv.slice(2);
const folder = new URL(what === "page" ? "dist/" : "../pkg/", import.meta.url);
const types = { html: "text/html", css: "text/css", js: "text/javascript", wasm: "application/wasm" };
const server = createServer(async (request, response) => {
  const name = (request.url ?? "/").slice(1) || "index.html";
  const body = await readFile(new URL(name, folder)).catch(() => "<!doctype html>");
  response.writeHead(200, { "content-type": types[name.split(".").pop()] ?? "text/html" }).end(body);
}).listen(0, "127.0.0.1");
const args = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args });
const page = await browser.newPage({ viewport: { width: 1360, height: 900 } });
const address = `http://127.0.0.1:${server.address().port}/`;

async function race(steps) {
  await page.goto(address);
  const rate = await page.evaluate(async (n) => {
    const wasm = await import("/flowrl_wasm.js");
    await wasm.default();
    const options = new wasm.RaceOptions();
    for (const kind of ["flowrl", "grpo", "ppo", "reinforce", "reward-kl", "normalised"]) options.addLane(kind, 0, 0);
    const run = wasm.Race.onLandscape(wasm.Landscape.preset("four-peaks", 16, 0), options);
    run.run(200);
    const start = performance.now();
    run.run(n);
    return (1000 * n) / (performance.now() - start);
  }, steps);
  console.log(rate.toFixed(1));
}

async function frames(speed) {
  await page.goto("about:blank");
  await page.goto(`${address}#v=1&s=${speed}`);
  await page.waitForFunction(() => (window.flowrl?.engine.status.get().step ?? 0) >= 100);
  const seen = await page.evaluate(async () => {
    const step = () => window.flowrl.engine.status.get().step;
    const [from, start] = [step(), performance.now()];
    let drawn = 0;
    while (performance.now() - start < 5000) {
      await new Promise(requestAnimationFrame);
      drawn++;
    }
    const seconds = (performance.now() - start) / 1000;
    return { frames: drawn / seconds, rounds: (step() - from) / seconds };
  });
  console.log(`${speed || "max"}: ${seen.frames.toFixed(1)} frames, ${seen.rounds.toFixed(0)} rounds a second`);
}

if (what === "race") await race(Number(count));
else for (const speed of [300, 0]) await frames(speed);
await browser.close();
server.close();
