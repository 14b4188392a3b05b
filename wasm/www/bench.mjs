// Rounds a second of the page's first race in Chromium, as wasm/examples/race.rs counts them: `node bench.mjs STEPS`.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "@playwright/test";

const steps = Number(process.argv[2] ?? 2000);
const types = { html: "text/html", js: "text/javascript", wasm: "application/wasm" };
const server = createServer(async (request, response) => {
  const name = request.url === "/" ? "" : (request.url ?? "").slice(1);
  const body = name ? await readFile(new URL(`../pkg/${name}`, import.meta.url)).catch(() => "") : "<!doctype html>";
  response.writeHead(200, { "content-type": types[name.split(".").pop()] ?? "text/html" }).end(body);
}).listen(0, "127.0.0.1");
const args = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args });
const page = await browser.newPage();
await page.goto(`http://127.0.0.1:${server.address().port}/`);
const rate = await page.evaluate(async (count) => {
  const wasm = await import("/flowrl_wasm.js");
  await wasm.default();
  const options = new wasm.RaceOptions();
  for (const kind of ["flowrl", "grpo", "ppo", "reinforce", "reward-kl", "normalised"]) options.addLane(kind, 0, 0);
  const race = wasm.Race.onLandscape(wasm.Landscape.preset("four-peaks", 16, 0), options);
  race.run(200);
  const start = performance.now();
  race.run(count);
  return (1000 * count) / (performance.now() - start);
}, steps);
console.log(rate.toFixed(1));
await browser.close();
server.close();
