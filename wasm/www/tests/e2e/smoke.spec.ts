import { expect, test } from "../support/page.ts";

test("formulae are MathML before any script runs", async ({ browser, origin }) => {
  const page = await browser.newPage({ javaScriptEnabled: false });
  await page.goto(`${origin}/`);
  await expect(page.locator("math .term-reward").first()).toBeVisible();
  expect(await page.content()).not.toMatch(/<!--\s*math:|temml-error| style="/);
  // Playwright switches scripts off after the parser has been told that there are some, so this is text, not an element.
  expect(await page.content()).toContain("FlowRL ends with all four in proportion");
  await page.close();
});

test.describe("the policy of the page", () => {
  test.use({ expectedErrors: /Content Security Policy|Failed to fetch|Fetch API cannot load/ });

  test("forbids inline code, inline styles and other hosts", async ({ page }) => {
    await page.goto("/");
    const forbidden = await page.evaluate(async () => {
      const violated = new Set<string>();
      addEventListener("securitypolicyviolation", (event) => violated.add(event.effectiveDirective));
      const script = document.createElement("script");
      script.textContent = "document.title = 'inline code ran'";
      document.head.append(script);
      document.body.insertAdjacentHTML("beforeend", "<p style='color: red'>x</p>");
      await fetch("https://example.org/").catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 50));
      return { violated: [...violated].sort(), title: document.title };
    });
    expect(forbidden.violated).toEqual(["connect-src", "script-src-elem", "style-src-attr"]);
    expect(forbidden.title).not.toContain("inline code ran");
  });
});
