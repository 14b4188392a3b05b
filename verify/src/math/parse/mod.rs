//! Parses the tokens of an answer.

mod atom;
mod call;
mod unit;

use super::expr::{Expr, Relation};
use super::token::{Spaced, Token};

/// Deepest nesting of brackets and exponents.
const DEEPEST: usize = 40;

/// Reads tokens from left to right.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    tokens: &'a [Spaced],
    at: usize,
    depth: usize,
    /// Open `|…|`, in which a bar closes.
    bars: usize,
    /// The unit after the last number, in words.
    unit: Option<String>,
}

/// Parses all tokens. The second value is the unit at the end.
pub(super) fn parse(tokens: &[Spaced]) -> Option<(Expr, Option<String>)> {
    let mut parser = Parser { tokens, at: 0, depth: 0, bars: 0, unit: None };
    let expr = parser.groups()?;
    while parser.eats('.') || parser.eats(',') || parser.eats(';') {}
    if parser.at < tokens.len() {
        return None;
    }
    Some((expr, parser.unit))
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.ahead(0)
    }

    fn ahead(&self, n: usize) -> Option<&Token> {
        self.tokens.get(self.at + n).map(|spaced| &spaced.token)
    }

    /// Returns whether a space comes before the next token.
    fn spaced(&self) -> bool {
        self.tokens.get(self.at).is_some_and(|spaced| spaced.space)
    }

    fn is(&self, sign: char) -> bool {
        self.peek() == Some(&Token::Sign(sign))
    }

    fn eats(&mut self, sign: char) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn is_command(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Command(found)) if found == name)
    }

    fn eats_command(&mut self, name: &str) -> bool {
        let found = self.is_command(name);
        self.at += usize::from(found);
        found
    }

    fn word(&self) -> &str {
        match self.peek() {
            Some(Token::Word(word) | Token::Text(word)) => word,
            _ => "",
        }
    }

    /// Counts nesting; None if it is too deep.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Lists between semicolons.
    fn groups(&mut self) -> Option<Expr> {
        let mut groups = vec![self.list()?];
        while self.is(';') && self.at + 1 < self.tokens.len() {
            self.at += 1;
            groups.push(self.list()?);
        }
        Some(if groups.len() == 1 { groups.remove(0) } else { Expr::Groups(groups) })
    }

    /// Items between commas, `and` or `or`.
    fn list(&mut self) -> Option<Expr> {
        let mut items = vec![self.chain()?];
        while self.separator() {
            items.push(self.chain()?);
        }
        Some(if items.len() == 1 { items.remove(0) } else { Expr::List(items) })
    }

    /// Skips `,`, `and`, `or` and `, and`, unless they end the formula.
    fn separator(&mut self) -> bool {
        let start = self.at;
        while self.at < self.tokens.len() && (self.is(',') || matches!(self.word(), "and" | "or") || self.is_or()) {
            self.at += 1;
        }
        let ends = match self.peek() {
            None => true,
            Some(Token::Sign(sign)) => matches!(sign, ')' | ']' | '}' | '⦄' | ';' | '.'),
            _ => false,
        };
        if ends {
            self.at = start;
        }
        self.at > start
    }

    fn is_or(&self) -> bool {
        ["lor", "vee", "land", "wedge", "text"].iter().any(|name| self.is_command(name))
    }

    /// Relations between sets or ratios.
    fn chain(&mut self) -> Option<Expr> {
        let first = self.sets()?;
        let mut rest = Vec::new();
        while let Some(relation) = self.relation() {
            self.at += 1;
            rest.push((relation, self.nested(Self::sets)?));
        }
        Some(if rest.is_empty() { first } else { Expr::Chain(Box::new(first), rest) })
    }

    fn relation(&self) -> Option<Relation> {
        Some(match self.peek()? {
            Token::Sign('=') => Relation::Equal,
            Token::Sign('≈') => Relation::About,
            Token::Sign('≠') => Relation::NotEqual,
            Token::Sign('<') => Relation::Less,
            Token::Sign('≤') => Relation::AtMost,
            Token::Sign('>') => Relation::More,
            Token::Sign('≥') => Relation::AtLeast,
            Token::Sign('∈') => Relation::In,
            Token::Command(name)
                if matches!(&**name, "Rightarrow" | "implies" | "to" | "rightarrow" | "Longrightarrow") =>
            {
                Relation::Implies
            }
            Token::Command(name) if matches!(&**name, "equiv" | "coloneqq") => Relation::Equal,
            _ => return None,
        })
    }

    /// Unions and differences of sets.
    fn sets(&mut self) -> Option<Expr> {
        let mut parts = vec![self.ratio()?];
        loop {
            if self.eats('∪') {
                parts.push(self.ratio()?);
            } else if self.word() == "U" && matches!(self.ahead(1), Some(Token::Sign('(' | '['))) {
                self.at += 1;
                parts.push(self.ratio()?);
            } else if self.eats_command("setminus") || self.eats_command("backslash") {
                let last = parts.pop()?;
                parts.push(Expr::Without(Box::new(last), Box::new(self.ratio()?)));
            } else {
                break;
            }
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Expr::Union(parts) })
    }

    fn ratio(&mut self) -> Option<Expr> {
        let mut parts = vec![self.sum()?];
        while self.is(':') && self.at + 1 < self.tokens.len() {
            self.at += 1;
            parts.push(self.sum()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Expr::Ratio(parts) })
    }

    fn sum(&mut self) -> Option<Expr> {
        let mut terms = vec![self.product()?];
        loop {
            if self.eats('+') {
                terms.push(self.product()?);
            } else if self.eats('-') {
                let term = self.product()?;
                terms.push(Expr::Neg(Box::new(term)));
            } else if self.is('±') || self.is('∓') {
                let opposite = self.eats('∓') || !self.eats('±');
                let sum = if terms.len() == 1 { terms.remove(0) } else { Expr::Add(std::mem::take(&mut terms)) };
                let term = self.product()?;
                terms = vec![Expr::PlusMinus(Box::new(sum), Box::new(term), opposite)];
            } else {
                return Some(if terms.len() == 1 { terms.remove(0) } else { Expr::Add(terms) });
            }
        }
    }

    fn product(&mut self) -> Option<Expr> {
        let mut factors = vec![self.signed()?];
        loop {
            if self.eats('*') {
                factors.push(self.signed()?);
            } else if self.is('/') {
                self.at += 1;
                let denominator = self.nested(Self::signed)?;
                let numerator = factors.pop()?;
                factors.push(fraction(factors.last(), numerator, denominator));
                if let [.., Expr::Number(..), Expr::Add(_)] = &factors[..] {
                    let mixed = factors.pop()?;
                    factors.pop();
                    factors.push(mixed);
                }
            } else if self.is_times() {
                self.at += 1;
                factors.push(self.signed()?);
            } else if self.begins_factor(&factors) {
                let next = self.power()?;
                match (factors.last(), &next) {
                    (Some(Expr::Number(..)), Expr::Div(a, b)) if is_proper(factors.last(), a, b) => {
                        let whole = factors.pop()?;
                        factors.push(Expr::Add(vec![whole, next]));
                    }
                    _ => factors.push(next),
                }
            } else {
                return Some(if factors.len() == 1 { factors.remove(0) } else { Expr::Mul(factors) });
            }
        }
    }

    /// Returns whether the next word is the times sign `x` of `2 x 10^3`.
    fn is_times(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        self.word() == "x"
            && self.spaced()
            && matches!(before.map(|spaced| &spaced.token), Some(Token::Number(..)))
            && matches!(self.ahead(1), Some(Token::Number(..)))
    }

    /// Returns whether the next token begins a factor without a sign of multiplication before it.
    fn begins_factor(&self, factors: &[Expr]) -> bool {
        match self.peek() {
            Some(Token::Number(..)) => {
                // Two numbers in a row are no product, except the fraction of a mixed number.
                let whole = matches!(factors.last(), Some(Expr::Number(n, 0)) if n.is_integer());
                let over = (self.ahead(1), self.ahead(2));
                let is_fraction = matches!(over, (Some(Token::Sign('/')), Some(Token::Number(..))));
                !matches!(factors.last(), Some(Expr::Number(..))) || (whole && is_fraction && self.spaced())
            }
            Some(Token::Word(word)) => !matches!(&**word, "and" | "or" | "U"),
            Some(Token::Command(name)) => atom::begins(name),
            Some(Token::Sign(sign)) => matches!(sign, '(' | '[' | '{' | '⦃') || (*sign == '|' && self.bars == 0),
            Some(Token::Text(_)) | None => false,
        }
    }

    fn signed(&mut self) -> Option<Expr> {
        if self.eats('-') {
            return self.nested(Self::signed).map(|expr| Expr::Neg(Box::new(expr)));
        }
        if self.eats('+') {
            return self.nested(Self::signed);
        }
        if self.is('±') || self.is('∓') {
            let opposite = self.is('∓');
            self.at += 1;
            let zero = Box::new(Expr::integer(0));
            return self.nested(Self::signed).map(|expr| Expr::PlusMinus(zero, Box::new(expr), opposite));
        }
        self.power()
    }

    /// An atom with exponents, factorials, percent signs and units.
    fn power(&mut self) -> Option<Expr> {
        let word = matches!(self.peek(), Some(Token::Word(_)));
        let mut base = self.atom()?;
        // In `xy^2` the exponent belongs to y.
        let mut before = Vec::new();
        if let (true, Expr::Mul(letters)) = (word, &mut base) {
            before = std::mem::take(letters);
            base = before.pop()?;
        }
        loop {
            if self.eats('^') {
                if self.eats_degree() {
                    base = Expr::Degrees(Box::new(base));
                } else {
                    let exponent = self.nested(Self::exponent)?;
                    base = Expr::Pow(Box::new(base), Box::new(exponent));
                }
            } else if self.is('!') && !matches!(self.ahead(1), Some(Token::Sign('!'))) {
                self.at += 1;
                base = Expr::Factorial(Box::new(base));
            } else if self.eats('%') || (is_value(&base) && self.eats_percent()) {
                base = Expr::Percent(Box::new(base));
            } else if self.eats_command("circ") || self.eats_command("degree") {
                base = Expr::Degrees(Box::new(base));
            } else if let Some(factor) = Some(&base).filter(|base| is_value(base)).and_then(|_| self.eats_multiplier())
            {
                base = Expr::Mul(vec![base, Expr::integer(factor)]);
            } else if is_value(&base) && self.eats_unit() {
                continue;
            } else if before.is_empty() {
                return Some(base);
            } else {
                before.push(base);
                return Some(Expr::Mul(before));
            }
        }
    }

    fn eats_degree(&mut self) -> bool {
        let start = self.at;
        let braces = self.eats('{');
        let found = self.eats_command("circ") || self.eats_command("degree");
        if !found || (braces && !self.eats('}')) {
            self.at = start;
            return false;
        }
        true
    }

    fn eats_percent(&mut self) -> bool {
        let found = matches!(self.word(), "percent" | "pct" | "percentage");
        self.at += usize::from(found);
        found
    }

    /// Reads one exponent or argument: a group, a number, a letter or a command.
    fn exponent(&mut self) -> Option<Expr> {
        if self.eats('-') {
            return self.nested(Self::exponent).map(|expr| Expr::Neg(Box::new(expr)));
        }
        let base = self.atom()?;
        // 2^3^2 is 2^(3^2).
        if self.eats('^') {
            let exponent = self.nested(Self::exponent)?;
            return Some(Expr::Pow(Box::new(base), Box::new(exponent)));
        }
        Some(base)
    }
}

/// Returns whether units and percent signs may follow: not after variables.
fn is_value(expr: &Expr) -> bool {
    let constant = |name: &str| matches!(name, "pi" | "e" | "i");
    !expr.any(&|part| matches!(part, Expr::Text(_)) || matches!(part, Expr::Name(name) if !constant(name)))
}

/// Returns whether `whole a/b` is a mixed number.
fn is_proper(whole: Option<&Expr>, a: &Expr, b: &Expr) -> bool {
    let integer = |expr: &Expr| matches!(expr, Expr::Number(n, 0) if n.is_integer());
    let smaller = matches!((a, b), (Expr::Number(a, _), Expr::Number(b, _)) if a < b);
    whole.is_some_and(integer) && integer(a) && integer(b) && smaller
}

/// Returns `a / b`, added to the whole number before it if the three are a mixed number.
fn fraction(whole: Option<&Expr>, a: Expr, b: Expr) -> Expr {
    if is_proper(whole, &a, &b) {
        let whole = whole.cloned().into_iter();
        return Expr::Add(whole.chain([Expr::Div(Box::new(a), Box::new(b))]).collect());
    }
    Expr::Div(Box::new(a), Box::new(b))
}
