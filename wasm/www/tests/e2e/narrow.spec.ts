import type { Page } from "@playwright/test";
import { CHAPTERS, open } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

/** What the page shows one after the other; each is left in a way that the next can follow. */
const states: readonly (readonly [string, (page: Page) => Promise<unknown>])[] = [
  ["as it opens", async () => {}],
  ["methods open", (page) => page.locator("#race").getByText("Methods and settings").click()],
  ["drawing", (page) => page.locator("#draw").click()],
  ["one lane hidden", (page) => page.getByRole("button", { name: "Hide GRPO" }).click()],
  ["in the past", async (page) => {
    await page.evaluate(() => window.flowrl.engine.step(100));
    await page.evaluate(() => window.flowrl.engine.show(0));
    await page.getByRole("button", { name: "Go on from here" }).waitFor();
  }],
  ["all chapters", async (page) => {
    for (const name of CHAPTERS) {
      await page.locator(`#${name}`).evaluate((chapter) => chapter.scrollIntoView({ behavior: "instant" }));
      await expect(page.locator(`#${name} .body`)).toBeVisible();
    }
  }],
  ["longest formulae", async (page) => {
    await page.getByLabel("Left", { exact: true }).selectOption("FlowRL ÷ length");
    await page.getByLabel("Right", { exact: true }).selectOption("Reward + KL ⁄ β");
    await expect(page.getByRole("article", { name: "Reward + KL ⁄ β", exact: true })).toBeVisible();
  }],
  ["a run with long names", async (page) => {
    const name = "divergence_from_the_target_that_is_".repeat(3);
    const buffer = Buffer.from(`{"step":1,"${name}":1}\n{"step":2,"${name}":2}\nbroken`);
    await page.getByLabel("Choose one or several files").setInputFiles({ name: `${name}.jsonl`, mimeType: "application/x-ndjson", buffer });
    await expect(page.locator("#runs tbody tr")).toHaveCount(1);
  }],
  ["after a trap", async (page) => {
    await page.evaluate(() => window.flowrl.engine.crash());
    await page.locator("#trouble").waitFor();
  }],
  ["one lane alone", (page) => page.getByRole("button", { name: "Show FlowRL alone" }).click()],
  ["sharing", (page) => page.getByRole("button", { name: "Share" }).click()],
  ["teaching", async (page) => {
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Teach" }).click();
  }],
  ["touring", async (page) => {
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Tour" }).click();
  }],
];

test.use({ viewport: { width: 320, height: 800 } });

test("nothing widens the page, in faces twice as wide too", { tag: "@narrow" }, async ({ page }) => {
  await open(page);
  expect(await width(page)).toBe(320);
  // As if the small letters of the face were twice as high, and so twice as wide, as those of DejaVu.
  await page.evaluate(() => (document.documentElement.style.fontSizeAdjust = "1.1"));
  for (const [name, enter] of states) {
    await enter(page);
    expect(await width(page), name).toBe(320);
  }
});

/** Of the page, with what is out of sight: an element that hides what is too wide would hide the fault. */
const width = (page: Page): Promise<number> =>
  page.evaluate(() => {
    for (const name of ["html", "body", "main"])
      if (getComputedStyle(document.querySelector(name)!).overflowX !== "visible") throw new Error(`${name} cuts off what is too wide`);
    return document.documentElement.scrollWidth;
  });
