import { expect, test } from "@playwright/test";
import { fill, mathml } from "../../build/mathematics.ts";
import { formulae } from "../../src/math.ts";

test("every formula becomes MathML, inline and on a line of its own", () => {
  for (const name of Object.keys(formulae)) {
    expect(mathml(name, false), name).toMatch(/^<math>.*<\/math>$/s);
    expect(mathml(name, true), name).toMatch(/^<math display="block"/);
    expect(mathml(name, true), name).not.toContain("style=");
  }
});

test("Greek letters are those that every face has", () => {
  const all = Object.keys(formulae).map((name) => mathml(name, false)).join("");
  expect(all).toContain('<mi mathvariant="normal">π</mi>');
  expect([...all.matchAll(/<mi(?![^>]*mathvariant)[^>]*>[α-ω]</g)]).toEqual([]);
});

test("comments of a page are replaced", () => {
  const html = fill("<p><!-- math:target --></p><!--math:target block--><!-- a comment -->");
  expect(html).toMatch(/^<p><math>.*<\/math><\/p><math display="block".*<\/math><!-- a comment -->$/s);
  expect(html).toContain('class="term-reward"');
});

test("an unknown formula is named", () => {
  expect(() => mathml("traget", false)).toThrow(/no formula `traget`; it has .*target/);
  expect(() => mathml("toString", false)).toThrow(/no formula/);
});
