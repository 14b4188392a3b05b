//! Arithmetic expressions, parsed from text and printed.

use super::rational::Rational;

/// One of the four operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum Operator {
    Add = b'+',
    Subtract = b'-',
    Multiply = b'*',
    Divide = b'/',
}

impl Operator {
    pub(super) const ALL: [Self; 4] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide];

    /// Returns the precedence of this operator: 1 for sums and 2 for products; a single number has 3.
    fn precedence(self) -> u8 {
        match self {
            Self::Add | Self::Subtract => 1,
            Self::Multiply | Self::Divide => 2,
        }
    }

    pub(super) fn apply(self, left: Rational, right: Rational) -> Result<Rational, Failure> {
        match self {
            Self::Add => left.add(right),
            Self::Subtract => left.sub(right),
            Self::Multiply => left.mul(right),
            Self::Divide if right.is_zero() => return Err(Failure::DivisionByZero),
            Self::Divide => left.div(right),
        }
        .ok_or(Failure::Overflow)
    }
}

/// Reason why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    DivisionByZero,
    Overflow,
}

/// The text of an expression with the fewest parentheses that keep its tree, and the precedence of its last operation.
#[derive(Clone, Debug)]
pub(super) struct Printed {
    pub(super) text: String,
    precedence: u8,
}

impl Printed {
    pub(super) fn number(n: u64) -> Self {
        Self { text: n.to_string(), precedence: 3 }
    }

    /// Prints `left operator right`. Operations associate to the left, so equal precedence needs parentheses
    /// only on the right.
    pub(super) fn join(left: &Self, operator: Operator, right: &Self) -> Self {
        let precedence = operator.precedence();
        let mut text = String::with_capacity(left.text.len() + right.text.len() + 5);
        left.push_to(&mut text, left.precedence < precedence);
        text.push(char::from(operator as u8));
        right.push_to(&mut text, right.precedence <= precedence);
        Self { text, precedence }
    }

    fn push_to(&self, text: &mut String, parentheses: bool) {
        if parentheses {
            text.push('(');
        }
        text.push_str(&self.text);
        if parentheses {
            text.push(')');
        }
    }
}

/// A tree in postfix order, so that even a very long completion needs no recursion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    postfix: Vec<Symbol>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    Number(u64),
    Operation(Operator),
}

impl Expression {
    /// Parses digits, `+ - * /` and parentheses, with the usual precedence and association to the left.
    ///
    /// Returns [`None`] for any other text, including one with spaces, signs or leading zeros. Numbers from 2⁶⁴
    /// on are read as 2⁶⁴ − 1.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // This is Dijkstra's shunting yard; `None` on the stack is an open parenthesis.
        let (mut postfix, mut stack) = (Vec::new(), Vec::<Option<Operator>>::new());
        let mut rest = text.as_bytes();
        let mut after_operand = false;
        while let [byte, tail @ ..] = rest {
            match (byte, after_operand) {
                (b'0'..=b'9', false) => {
                    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
                    if digits > 1 && *byte == b'0' {
                        return None;
                    }
                    let value = str::from_utf8(&rest[..digits]).ok()?.parse();
                    postfix.push(Symbol::Number(value.unwrap_or(u64::MAX)));
                    (rest, after_operand) = (&rest[digits..], true);
                    continue;
                }
                (b'(', false) => stack.push(None),
                (b')', true) => {
                    while let Some(operator) = stack.pop()? {
                        postfix.push(Symbol::Operation(operator));
                    }
                }
                (byte, true) => {
                    let operator = Operator::ALL.into_iter().find(|operator| *operator as u8 == *byte)?;
                    while let Some(Some(waiting)) = stack.last().copied() {
                        if waiting.precedence() < operator.precedence() {
                            break;
                        }
                        postfix.push(Symbol::Operation(waiting));
                        stack.pop();
                    }
                    stack.push(Some(operator));
                    after_operand = false;
                }
                _ => return None,
            }
            rest = tail;
        }
        while let Some(top) = stack.pop() {
            postfix.push(Symbol::Operation(top?));
        }
        after_operand.then_some(Self { postfix })
    }

    /// Returns the numbers of this expression, in the order of the text.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.postfix.iter().filter_map(|symbol| match symbol {
            Symbol::Number(n) => Some(*n),
            Symbol::Operation(_) => None,
        })
    }

    /// Computes the exact value of this expression.
    pub(super) fn value(&self) -> Result<Rational, Failure> {
        self.fold(|n| Rational::whole(n.into()), |left, operator, right| operator.apply(left, right))
    }

    /// Evaluates the tree from the leaves with `number` and `join`.
    fn fold<V, E>(&self, number: impl Fn(u64) -> V, join: impl Fn(V, Operator, V) -> Result<V, E>) -> Result<V, E> {
        let mut stack = Vec::new();
        for symbol in &self.postfix {
            let value = match *symbol {
                Symbol::Number(n) => number(n),
                Symbol::Operation(operator) => {
                    let (right, left) = (stack.pop(), stack.pop());
                    let operands = left.zip(right).expect("parse emits an operation after its two operands");
                    join(operands.0, operator, operands.1)?
                }
            };
            stack.push(value);
        }
        Ok(stack.pop().expect("parse emits at least one number"))
    }

    /// Returns the text with the fewest parentheses that keep the tree.
    pub(super) fn print(&self) -> String {
        let join = |left: Printed, operator, right: Printed| Ok(Printed::join(&left, operator, &right));
        match self.fold::<_, std::convert::Infallible>(Printed::number, join) {
            Ok(printed) => printed.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<i128> {
        Expression::parse(text)?.value().ok()?.to_whole()
    }

    #[test]
    fn precedence_and_association() {
        for (text, wanted) in [
            ("7", 7),
            ("1+2*3", 7),
            ("(1+2)*3", 9),
            ("8-3-2", 3),
            ("8-(3-2)", 7),
            ("8/4/2", 1),
            ("8/(4/2)", 4),
            ("8/4*2", 4),
            ("2-3*4", -10),
            ("1/3*3", 1),
            ("((8))", 8),
            ("6/(1-3/4)", 24),
        ] {
            assert_eq!(value(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression() {
        for text in [
            "", " 1", "1 ", "1 + 2", "+1", "-1", "1+", "1++2", "1-+2", "()", "(1", "1)", "1(2)", "(1)(2)", "(1)2",
            "01+2", "00", "1.5", "x", "1+2=3", "1×2", "１", "(", ")", "1+(", "*",
        ] {
            assert_eq!(Expression::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn printing_takes_needless_parentheses_away_and_no_others() {
        for (text, wanted) in [
            ("((1))", "1"),
            ("(1+2)+3", "1+2+3"),
            ("1+(2+3)", "1+(2+3)"),
            ("(1*2)+3", "1*2+3"),
            ("1*(2+3)", "1*(2+3)"),
            ("1-(2*3)", "1-2*3"),
            ("(1/2)/3", "1/2/3"),
            ("1/(2/3)", "1/(2/3)"),
        ] {
            assert_eq!(Expression::parse(text).unwrap().print(), wanted);
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let failure = |text: &str| Expression::parse(text).unwrap().value().err();
        assert_eq!(failure("1/(2-2)"), Some(Failure::DivisionByZero));
        assert_eq!(failure("0/(1-2)"), None);
        let big = vec![u64::MAX.to_string(); 3].join("*");
        assert_eq!(failure(&big), Some(Failure::Overflow));
    }

    #[test]
    fn length_does_not_matter() {
        let deep = format!("{}1{}", "(".repeat(200_000), ")".repeat(200_000));
        assert_eq!(Expression::parse(&deep).unwrap().numbers().count(), 1);
        let long = vec!["1"; 100_000].join("+");
        assert_eq!(value(&long), Some(100_000));
    }
}
