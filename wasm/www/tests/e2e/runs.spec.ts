import type { Page } from "@playwright/test";
import { violations } from "../support/axe.ts";
import { openChapter } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

const metrics = (scale: number, steps = 50) =>
  Array.from({ length: steps }, (_, i) =>
    JSON.stringify({ step: 10 * i, mine: i, loss: i % 5 === 0 ? scale : null, kl: scale / (i + 1) }),
  ).join("\n");
const file = (name: string, text: string) => ({
  name,
  mimeType: "application/x-ndjson",
  buffer: Buffer.from(text),
});

const input = (page: Page) => page.getByLabel("Choose one or several files");
async function open(page: Page): Promise<void> {
  await openChapter(page, "runs");
  await expect(input(page)).toBeVisible();
}

test("runs are compared, with a cursor by mouse and by keyboard", async ({ page }) => {
  await open(page);
  await input(page).setInputFiles([file("a.jsonl", metrics(1)), file("b.jsonl", metrics(8))]);
  const rows = page.locator("#runs tbody tr");
  await expect(rows).toHaveCount(2);
  const chooser = page.getByLabel("Metric", { exact: true }).last();
  await expect(chooser).toHaveValue("kl");
  const chapters = await chooser.locator("optgroup").evaluateAll((all) => all.map((chapter) => chapter.getAttribute("label")));
  expect(chapters).toEqual(["Distance to the target", "Residual and loss", "Other"]);
  await expect(chooser.locator("option")).toHaveText(["KL(π ‖ π*)", "Loss", "mine"]);
  await expect(rows.nth(1)).toContainText("0.16");
  const figure = page.locator("#runs canvas");
  await figure.focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  await expect(rows.nth(0).locator(".at")).toHaveText("0.5");
  await expect(rows.nth(1).locator(".at")).toHaveText("4");
  await expect(page.locator("#announcer")).toContainText("a 0.5, b 4");
  await page.keyboard.press("Escape");
  await expect(rows.nth(0).locator(".at")).toHaveText("–");
  await figure.hover();
  await expect(rows.nth(0).locator(".at")).not.toHaveText("–");
  await chooser.selectOption("loss");
  await expect(rows.nth(1)).toContainText("8");
  await page.getByLabel("Logarithmic").check();
  expect(await violations(page, "#runs")).toEqual([]);
});

test("a run is renamed and removed", async ({ page }) => {
  await open(page);
  await input(page).setInputFiles([file("metrics.jsonl", metrics(1)), file("metrics.jsonl", metrics(2))]);
  await expect(page.getByLabel("Name of run 2")).toHaveValue("metrics (2)");
  await page.getByLabel("Name of run 1").fill("FlowRL");
  await page.getByLabel("Name of run 1").press("Enter");
  await page.getByRole("button", { name: "Remove FlowRL" }).click();
  await expect(page.locator("#runs tbody tr")).toHaveCount(1);
  await page.getByRole("button", { name: "Remove metrics (2)" }).click();
  await expect(page.locator("#runs canvas")).toBeHidden();
});

test("files are dropped; bad lines and bad files are named", async ({ page }) => {
  await open(page);
  const texts = { "good.jsonl": `${metrics(1, 3)}\noops`, "holiday.jpg": "not metrics" };
  await page.locator("#runs .drop").evaluate((zone, given) => {
    const dataTransfer = new DataTransfer();
    for (const [name, text] of Object.entries(given)) dataTransfer.items.add(new File([text], name));
    zone.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
  }, texts);
  await expect(page.locator("#runs .problems li")).toHaveText([
    "good.jsonl: line 4 was skipped; wanted a JSON object with a number “step”.",
    /^holiday\.jpg has no line/,
  ]);
  await expect(page.locator("#runs tbody tr")).toHaveCount(1);
});

test("a large file leaves the page alive", async ({ page }) => {
  await open(page);
  // 6 MB of some 40 metrics a line.
  const names = Array.from({ length: 40 }, (_, i) => `metric_${i}`);
  const line = (step: number) =>
    JSON.stringify({ step, ...Object.fromEntries(names.map((name, i) => [name, step / (i + 1)])) });
  const text = Array.from({ length: 8_000 }, (_, i) => line(i)).join("\n");
  expect(text.length).toBeGreaterThan(5e6);
  // Frames that come while it reads.
  await page.evaluate(() => {
    const seen = { frames: 0 };
    Object.assign(window, { seen });
    const tick = () => {
      if (document.querySelector("#runs .drop")?.textContent?.includes("Reading")) seen.frames++;
      requestAnimationFrame(tick);
    };
    tick();
  });
  await input(page).setInputFiles(file("long.jsonl", text));
  await expect(page.locator("#runs .drop")).toContainText("8,000 records read", { timeout: 40_000 });
  expect(
    await page.evaluate(() => (window as unknown as { seen: { frames: number } }).seen.frames),
    // A page that reads in one go shows the first of them at most.
  ).toBeGreaterThan(1);
});

test("the race above is a run too, and the chart is saved", async ({ page }) => {
  await open(page);
  await page.evaluate(() =>
    (window as unknown as { flowrl: { engine: { step(n: number): void } } }).flowrl.engine.step(40),
  );
  await page.getByRole("button", { name: "Use the race above" }).click();
  await expect(page.getByLabel("Name of run 1")).toHaveValue("Race: FlowRL");
  for (const [button, name, start] of [
    ["Save SVG", "tv.svg", "<svg"],
    ["Save PNG", "tv.png", "\u0089PNG"],
  ] as const) {
    const [saved] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: button }).click(),
    ]);
    expect(saved.suggestedFilename()).toBe(name);
    const chunks: Buffer[] = [];
    for await (const chunk of await saved.createReadStream()) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString("latin1").startsWith(start)).toBe(true);
  }
});

test("at 320 px nothing is cut off, dark", { tag: "@narrow" }, async ({ page }) => {
  await page.emulateMedia({ colorScheme: "dark" });
  await page.setViewportSize({ width: 320, height: 700 });
  await open(page);
  await input(page).setInputFiles([file("a.jsonl", metrics(1)), file("b.jsonl", metrics(8))]);
  await expect(page.locator("#runs tbody tr")).toHaveCount(2);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(320);
  expect(await violations(page, "#runs")).toEqual([]);
});
