import { violations } from "../support/axe.ts";
import { openChapter } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

test("every card shows what comes of its setup", async ({ page }) => {
  await openChapter(page, "fails");
  const captions = page.locator("#fails .outcome figcaption");
  await expect(captions).toHaveCount(5);
  await expect(captions.filter({ hasText: "total variation" })).toHaveCount(5, { timeout: 30_000 });
  const distances = (await captions.allTextContents()).map((text) =>
    Number(/variation (\d\.\d+)/.exec(text)?.[1]),
  );
  const [large, blind, small, published, rival] = distances as [number, number, number, number, number];
  for (const close of [large, blind, rival]) expect(close).toBeLessThan(0.1);
  for (const far of [small, published]) expect(far).toBeGreaterThan(0.5);
});

test("a card loads its setup and goes to the race", async ({ page }) => {
  await page.goto("./#v=1&seed=3&hide=metrics");
  await page.locator("#fails").scrollIntoViewIfNeeded();
  await expect(page.locator("#collapse .ways")).toBeVisible();
  await page.getByRole("link", { name: /Load into the race ?: Two answers/ }).click();
  await expect(page).toHaveURL(/n=2&lr=0\.3/);
  // Its own settings hold, what a teacher has hidden stays hidden.
  await expect(page).not.toHaveURL(/seed=/);
  await expect(page).toHaveURL(/hide=metrics/);
  await expect(page.locator("#race-title")).toBeInViewport();
});

test("a small network keeps one mode on policy, and all with exploration", async ({ page }) => {
  test.setTimeout(180_000);
  await openChapter(page, "fails");
  const figure = page.locator("#collapse");
  await figure.scrollIntoViewIfNeeded();
  await figure.getByRole("button", { name: "Play" }).click();
  await expect(figure.locator(".at-step output")).toHaveText("3,000", { timeout: 150_000 });
  await expect(figure.getByRole("button", { name: "Play" })).toBeVisible();
  const found = await figure.locator(".way .number").allTextContents();
  expect(found[0]).toBe("4 modes");
  expect(found[1]).toContain("1 of 4 modes");
  expect(found[2]).toContain("4 of 4 modes");
  expect(found[3]).toContain("1 of 4 modes");
});

test("the network pauses, when scrolled away too, and starts anew", async ({ page }) => {
  await openChapter(page, "fails");
  const figure = page.locator("#collapse");
  await figure.scrollIntoViewIfNeeded();
  const step = figure.locator(".at-step output");
  await figure.getByRole("button", { name: "Play" }).click();
  await expect(step).not.toHaveText("0");
  await figure.getByRole("button", { name: "Pause" }).click();
  const stopped = await step.textContent();
  await page.waitForTimeout(300);
  expect(
    Number((await step.textContent())?.replace(",", "")) - Number(stopped?.replace(",", "")),
  ).toBeLessThan(1);
  await figure.getByRole("button", { name: "Play" }).click();
  await page.evaluate(() => scrollTo(0, 0));
  // Long before it would stop by itself.
  await expect(figure.locator(".primary")).toHaveText("Play", { timeout: 2000 });
  await figure.scrollIntoViewIfNeeded();
  await figure.getByLabel("Little", { exact: true }).check();
  await expect(step).toHaveText("0");
  await expect(figure).toContainText("on policy on 6 of them");
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`axe finds nothing at 320 px, ${colorScheme}`, { tag: colorScheme === "light" ? "@narrow" : [] }, async ({ page }) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width: 320, height: 700 });
    await openChapter(page, "fails");
    await expect(page.locator("#collapse .ways")).toBeVisible();
    expect(await violations(page, "#fails")).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(320);
  });
}
