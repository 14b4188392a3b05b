import { open } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

const drawn = (page: import("@playwright/test").Page) =>
  page.evaluate(() => {
    const drawing = window.flowrl.settings.get().drawing;
    return drawing && { rewards: [...drawing.rewards], reference: [...drawing.reference] };
  });

test("rewards are drawn with the mouse, undone and done again, and live in the link", async ({ page }) => {
  await open(page, "#v=1&p=needle");
  await page.locator("#race").getByRole("button", { name: "Draw", exact: true }).click();
  const canvas = page.locator(".target canvas").first();
  await expect(canvas).toHaveAccessibleName("Reward of every answer");
  const box = (await canvas.boundingBox())!;
  await page.mouse.move(box.x + 60, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + 160, box.y + 120, { steps: 8 });
  await page.mouse.up();
  const first = await drawn(page);
  expect(first!.rewards.filter((shade) => shade > 10).length).toBeGreaterThan(5);
  await expect(page).toHaveURL(/d=[\w-]{600,}/);
  await page.getByRole("button", { name: "Undo" }).click();
  expect(await drawn(page)).toBeNull();
  await page.getByRole("button", { name: "Redo" }).click();
  expect(await drawn(page)).toEqual(first);
  // The address follows a quarter of a second later.
  await page.waitForTimeout(400);
  await expect(page).toHaveURL(/d=[\w-]{600,}/);
  const link = page.url();
  await page.goto("about:blank");
  await page.goto(link);
  await page.waitForFunction(() => Boolean(window.flowrl?.settings.get().drawing));
  expect(await drawn(page)).toEqual(first);
});

test("and with the keyboard", async ({ page }) => {
  await open(page, "#v=1&p=needle");
  await page.locator("#race").getByRole("button", { name: "Draw", exact: true }).click();
  const canvas = page.locator(".target canvas").first();
  await expect(canvas).toBeFocused();
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowUp");
  for (let i = 0; i < 3; i++) await page.keyboard.press("+");
  const cell = 7 * 16 + 7;
  const raised = (await drawn(page))!.rewards;
  expect(raised[cell]).toBeGreaterThanOrEqual(76);
  expect(raised[cell + 1]).toBe(0);
  await page.keyboard.press("-");
  expect((await drawn(page))!.rewards[cell]).toBeLessThan(raised[cell]!);
  await page.keyboard.press("Control+z");
  expect((await drawn(page))!.rewards).toEqual(raised);
  await page.keyboard.press("Enter");
  expect((await drawn(page))!.rewards[cell + 1]).toBeGreaterThan(0);
  await page.keyboard.press("Escape");
  await expect(page.locator("#race").getByRole("button", { name: "Draw", exact: true })).toBeFocused();
  await expect(page.locator("#announcer")).toContainText(/Row|[0-9]/);
});

test("the reference is drawn in the same way, and never loses all its weight", async ({ page }) => {
  await open(page);
  await page.locator("#race").getByRole("radio", { name: "Reference" }).check();
  await page.locator("#race").getByRole("button", { name: "Draw", exact: true }).click();
  await page.getByRole("radio", { name: "Erase" }).check();
  const canvas = page.locator(".target canvas").first();
  // Not below a bar that stays in place.
  await canvas.evaluate((element) => element.scrollIntoView({ block: "center", behavior: "instant" }));
  const box = (await canvas.boundingBox())!;
  const middle = box.y + box.width / 2;
  await page.mouse.move(box.x + 10, middle);
  await page.mouse.down();
  await page.mouse.move(box.x + 100, middle, { steps: 5 });
  await page.mouse.up();
  const { reference } = (await drawn(page))!;
  expect(reference.filter((weight) => weight === 0).length).toBeGreaterThan(3);
  expect(await page.evaluate(() => window.flowrl.engine.status.get().error)).toBe("");
});

test.describe("with a finger", () => {
  test.use({ hasTouch: true, viewport: { width: 360, height: 740 } });
  test("a touch draws where drawing is on, and scrolls where it is not", async ({ page }) => {
    await open(page, "#v=1&p=needle");
    const canvas = page.locator(".target canvas").first();
    await canvas.scrollIntoViewIfNeeded();
    await canvas.tap({ position: { x: 100, y: 100 } });
    expect(await drawn(page)).toBeNull();
    await page.locator("#race").getByRole("button", { name: "Draw", exact: true }).click();
    await canvas.tap({ position: { x: 100, y: 100 } });
    expect((await drawn(page))!.rewards.filter((shade) => shade > 10).length).toBeGreaterThan(2);
    expect(await canvas.evaluate((element) => element.style.touchAction)).toBe("none");
  });
});
