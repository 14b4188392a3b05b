import { readFile } from "node:fs/promises";
import type { Page } from "@playwright/test";
import { open, runTo } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

/** Presses a button of the dialog and gives the file that comes. */
async function fetched(page: Page, name: string): Promise<{ file: string; bytes: Buffer }> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name, exact: true }).click(),
  ]);
  return { file: download.suggestedFilename(), bytes: await readFile(await download.path()) };
}

test("pictures, table and configuration can be taken away, and open", async ({ page }) => {
  await open(page);
  await runTo(page, 200);
  await page.getByRole("button", { name: "Share" }).click();

  const png = await fetched(page, "PNG");
  expect(png.file).toBe("flowrl-step-200.png");
  expect([...png.bytes.subarray(0, 8)]).toEqual([137, 80, 78, 71, 13, 10, 26, 10]);
  expect([png.bytes.readUInt32BE(16), png.bytes.readUInt32BE(20)]).toEqual([2400, 1520]);
  expect(png.bytes.length).toBeGreaterThan(20_000);

  const svg = await fetched(page, "SVG");
  const facts = await page.evaluate((text) => {
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
    return { broken: parsed.querySelector("parsererror") !== null, text: parsed.documentElement.textContent ?? "", shapes: parsed.querySelectorAll("path, rect").length };
  }, svg.bytes.toString());
  expect(facts.broken).toBe(false);
  expect(facts.text).toContain("Four peaks, β = 6, seed 0, step 200");
  expect(facts.shapes).toBeGreaterThan(200);

  const csv = await fetched(page, "CSV");
  expect(csv.bytes.toString()).toBe(await page.evaluate(() => window.flowrl.engine.csv()));
  const [head, ...rows] = csv.bytes.toString().trimEnd().split("\n");
  expect(head).toMatch(/^step,lane,kl,reverse_kl,tv/);
  expect(rows.length).toBe(21 * 6);
  const last = rows.find((row) => row.startsWith("200,flowrl,"))!.split(",").map(Number);
  const shown = await page.evaluate(() => window.flowrl.engine.frame.get()!.lanes[0]!.measure("kl"));
  expect(Math.fround(last[2]!)).toBe(shown);

  await page.getByRole("dialog").getByLabel("Lane").selectOption({ label: "GRPO" });
  const config = await fetched(page, "Config");
  expect(config.file).toBe("flowrl-grpo.toml");
  expect(config.bytes.toString()).toMatch(/^\[objective\]\npreset = "grpo"$/m);
  expect(config.bytes.toString()).toContain('arithmetic = "reference"');
  await expect(page.getByRole("dialog").getByRole("status").filter({ hasText: "flowrl-cli train --config flowrl-grpo.toml" })).toBeVisible();
  await page.getByRole("button", { name: "Close" }).click();
  await expect(page.getByRole("dialog")).toHaveCount(0);
});

test.describe("the link", () => {
  test.use({ permissions: ["clipboard-read", "clipboard-write"] });
  test("is copied whole, landscape included", async ({ page }) => {
    await open(page, "#v=1&b=3&p=banana");
    await page.getByRole("button", { name: "Share" }).click();
    await page.getByRole("button", { name: "Copy link" }).click();
    await expect(page.getByRole("dialog").getByText("The link is copied")).toBeVisible();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toMatch(/#v=1&b=3&p=banana$/);
  });
});
