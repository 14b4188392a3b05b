import { chromium } from "@playwright/test";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };
const server = createServer(async (q, r) => {
  try {
    const p = new URL(q.url, "http://x").pathname; const f = join("dist", p === "/" ? "index.html" : p);
    const b = await readFile(f); r.writeHead(200, { "content-type": types[extname(f)] ?? "application/octet-stream" }); r.end(b);
  } catch { r.writeHead(404); r.end(); }
}).listen(0);
const port = server.address().port;
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-background-networking"] });
const [what = "hero", ...rest] = process.argv.slice(2);
for (const [name, theme, width, height] of [["wide-light", "light", 1360, Number(process.env.H ?? 900)], ["wide-dark", "dark", 1360, 900], ["phone-light", "light", Number(process.env.W ?? 360), 740]]) {
  if (rest.length && !rest.includes(name)) continue;
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: theme, deviceScaleFactor: 1 });
  page.on("console", (m) => console.log(name, m.type(), m.text()));
  page.on("pageerror", (e) => console.log(name, "PAGEERROR", e.message));
  await page.goto(`http://127.0.0.1:${port}/${process.env.HASH ?? ""}`);
  await page.waitForFunction(() => (window.flowrl?.engine.status.get().step ?? 0) >= 600, null, { timeout: 60000 }).catch((e) => console.log(String(e)));
  if (process.env.EVAL) console.log(await page.evaluate(process.env.EVAL));
  await page.waitForTimeout(300);
  if (what === "full") await page.evaluate(async () => { for (let y = 0; y < document.body.scrollHeight; y += 500) { scrollTo(0, y); await new Promise((r) => setTimeout(r, 200)); } scrollTo(0, 0); });
  if (what === "full") await page.waitForTimeout(1500);
  await page.screenshot({ path: `/tmp/shots/${what}-${name}.png`, fullPage: what !== "view" });
  console.log(name, await page.evaluate(() => JSON.stringify({ w: document.documentElement.scrollWidth, iw: innerWidth, ...(({ step, rate }) => ({ step, rate }))(window.flowrl.engine.status.get()) })));
  await page.close();
}
await browser.close(); server.close();
