import type { Page } from "@playwright/test";
import { violations } from "../support/axe.ts";
import { openChapter } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

const chapter = (page: Page) => page.locator("#tree");
const number = (text: string | null) => Number((text ?? "").replace(/[^\d.]/g, ""));

/** A cell of one of the chapter's tables. */
const cell = async (page: Page, table: string, row: string, column: number) =>
  number(await chapter(page).locator(table).getByRole("row", { name: new RegExp(`^${row}( [\\d.<]|$)`) }).getByRole("cell").nth(column).textContent());

async function open(page: Page): Promise<void> {
  await openChapter(page, "tree");
  await chapter(page).locator("#tree-figure").scrollIntoViewIfNeeded();
  await expect(chapter(page).locator("#tree-step")).not.toBeEmpty();
}

test("each policy reaches its own fixed point, and the two are apart", async ({ page }) => {
  await open(page);
  await expect(chapter(page).locator("#tree-step")).toHaveText("0");
  expect(await cell(page, "#tree-distances", "Learned ÷ length", 0)).toBeGreaterThan(0.5);
  await chapter(page).getByRole("button", { name: "Play" }).click();
  await expect.poll(async () => number(await chapter(page).locator("#tree-step").textContent()), { timeout: 40_000 }).toBeGreaterThan(400);
  await chapter(page).getByRole("button", { name: "Pause" }).click();
  expect(await cell(page, "#tree-distances", "Learned", 0)).toBeLessThan(0.05);
  expect(await cell(page, "#tree-distances", "Learned ÷ length", 0)).toBeLessThan(0.05);
  expect(await cell(page, "#tree-distances", "Learned ÷ length", 1)).toBeGreaterThan(0.5);
  // Each is shown in its own row, beside the target that it has come to.
  for (const [learned, target] of [["Learned", "Target"], ["Learned ÷ length", "Target ÷ length"]] as const) {
    for (const [column, digits] of [[0, -1], [1, 0], [2, 1]] as const) {
      expect(await cell(page, "#tree-views", learned, column)).toBeCloseTo(await cell(page, "#tree-views", target, column), digits);
    }
  }
  await chapter(page).getByRole("button", { name: "Reset" }).click();
  await expect(chapter(page).locator("#tree-step")).toHaveText("0");
  await expect(chapter(page).getByRole("button", { name: "Play" })).toBeVisible();
});

test("it learns by itself in view, and rests out of view", async ({ page }) => {
  await page.emulateMedia({ reducedMotion: "no-preference" });
  await open(page);
  const step = async () => number(await chapter(page).locator("#tree-step").textContent());
  await expect.poll(step).toBeGreaterThan(0);
  await page.evaluate(() => document.documentElement.style.setProperty("scroll-behavior", "auto"));
  await page.evaluate(() => scrollTo(0, 0));
  await page.waitForTimeout(300);
  const before = await step();
  await page.waitForTimeout(300);
  expect(await step()).toBe(before);
});

test("the two targets differ, and β moves both", async ({ page }) => {
  await open(page);
  await expect(chapter(page).locator("#tree-answer")).toHaveText("aab ★");
  expect(await cell(page, "#tree-views", "Target", 0)).toBe(25);
  expect(await cell(page, "#tree-views", "Target ÷ length", 0)).toBe(78);
  const [tokens, divided] = [await cell(page, "#tree-views", "Target", 1), await cell(page, "#tree-views", "Target ÷ length", 1)];
  await expect(chapter(page).locator("#tree-longer")).toContainText("longer");
  expect(number(await chapter(page).locator("#tree-longer").textContent())).toBeCloseTo(divided - tokens, 1);
  const rewards = ["Target", "Target ÷ length"].map((row) => cell(page, "#tree-views", row, 2));
  await expect(chapter(page).locator("#tree-rewards")).toHaveText((await Promise.all(rewards)).map((x) => x.toFixed(2)).join(" to ").replace(/^/, "from "));
  // The likeliest answer under either of the two comes first.
  await expect(chapter(page).locator("#tree-bars figure p")).toHaveText(/^aab 25 %, divided 78 %; /);
  const slider = chapter(page).getByRole("slider", { name: /^β/ });
  await slider.press("Home");
  await expect(chapter(page).locator("#tree-longer")).toHaveText("0.00 tokens longer");
  for (const row of ["Reference", "Target", "Target ÷ length"]) expect(await cell(page, "#tree-views", row, 0)).toBe(4);
});

test("policies that learn aim at the targets of the β that is set", async ({ page }) => {
  await open(page);
  await chapter(page).getByRole("radio", { name: "Learned", exact: true }).check();
  const picture = async () => {
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    return chapter(page).locator("#tree-figure canvas").evaluate((element: HTMLCanvasElement) => element.toDataURL());
  };
  const [before, far] = [await picture(), await cell(page, "#tree-distances", "Learned", 1)];
  await chapter(page).getByRole("slider", { name: /^β/ }).press("End");
  // Nothing has been learned: what has moved is the target, from which the policy is further away, and its outline in the picture.
  await expect(chapter(page).locator("#tree-step")).toHaveText("0");
  expect(await cell(page, "#tree-distances", "Learned", 1)).toBeGreaterThan(far + 0.5);
  expect(await picture()).not.toBe(before);
});

test("the views draw different trees; arrow keys and a pointer choose answers", async ({ page }) => {
  await open(page);
  const canvas = chapter(page).locator("#tree-figure canvas");
  const answer = chapter(page).locator("#tree-answer");
  const drawn = new Set<string>();
  for (const name of ["Reference", "Target", "Target ÷ length", "Learned"]) {
    await chapter(page).getByRole("radio", { name, exact: true }).check();
    await expect(chapter(page).locator("#tree-figure figure p")).toHaveText(new RegExp(`^${name}: `));
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    drawn.add(await canvas.evaluate((element: HTMLCanvasElement) => element.toDataURL()));
  }
  expect(drawn.size).toBe(4);
  await canvas.focus();
  for (const [key, text] of [["Home", "aaa"], ["ArrowDown", "aa"], ["ArrowRight", "aaa"], ["ArrowUp", "aaa"], ["End", "bbb"], ["ArrowLeft", "bb ★"], ["ArrowLeft", "b"], ["ArrowLeft", "∅"]] as const) {
    await canvas.press(key);
    await expect(answer).toHaveText(text);
  }
  await expect(page.locator("#announcer")).toContainText("∅: Reference 62 %");
  await expect(chapter(page).locator("#tree-length")).toHaveText("1");
  const poor = number(await chapter(page).locator("#tree-reward").textContent());
  await canvas.press("Home");
  await canvas.press("ArrowDown");
  await canvas.press("ArrowDown");
  await expect(answer).toHaveText("aab ★");
  await expect(chapter(page).locator("#tree-length")).toHaveText("4");
  await expect(chapter(page).locator("#tree-reward")).toHaveText("1.00");
  expect(poor).toBeLessThan(1);
  await canvas.hover({ position: { x: 20, y: 12 } });
  await expect(answer).toHaveText("aaa");
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`axe finds nothing at 320 pixels, ${colorScheme}, and nothing sticks out`, { tag: colorScheme === "light" ? "@narrow" : [] }, async ({ page }) => {
    await page.setViewportSize({ width: 320, height: 800 });
    await page.emulateMedia({ colorScheme });
    await open(page);
    expect(await violations(page, "#tree")).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBe(0);
  });
}
