//! The tree of a formula.

use num_rational::BigRational;

/// A relation between neighbours of a chain such as `0 < x ≤ 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Relation {
    Equal,
    /// `≈`: a rounded form follows.
    About,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
    In,
    /// `⇒`: a step on the way precedes.
    Implies,
}

/// A formula as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    /// A number with the count of its decimals.
    Number(BigRational, usize),
    /// A variable, with its subscript, or one of the constants `pi`, `e`, `i` and `infinity`.
    Name(String),
    Add(Vec<Expr>),
    Mul(Vec<Expr>),
    Neg(Box<Expr>),
    Div(Box<Expr>, Box<Expr>),
    Pow(Box<Expr>, Box<Expr>),
    /// A root of this degree.
    Root(u32, Box<Expr>),
    /// A function of a known or unknown name. Sums and integrals are functions of their bounds and body.
    Call(String, Vec<Expr>),
    Factorial(Box<Expr>),
    Percent(Box<Expr>),
    /// An angle in degrees.
    Degrees(Box<Expr>),
    /// `a ± b`, or `a ∓ b` if true.
    PlusMinus(Box<Expr>, Box<Expr>, bool),
    /// A number with digits in another base.
    Based(BigRational, u32),
    /// Items between commas, without brackets.
    List(Vec<Expr>),
    /// Lists between semicolons.
    Groups(Vec<Expr>),
    /// Two or more items in round brackets; with two, perhaps an open interval.
    Tuple(Vec<Expr>),
    Set(Vec<Expr>),
    /// An interval, with whether each end belongs to it.
    Interval(Box<Expr>, bool, Box<Expr>, bool),
    Union(Vec<Expr>),
    /// A set without some elements or another set.
    Without(Box<Expr>, Box<Expr>),
    Ratio(Vec<Expr>),
    Matrix(Vec<Vec<Expr>>),
    /// A chain of relations.
    Chain(Box<Expr>, Vec<(Relation, Expr)>),
    Text(String),
}

impl Expr {
    pub(super) fn integer(n: i64) -> Self {
        Self::Number(BigRational::from_integer(n.into()), 0)
    }

    pub(super) fn name(name: &str) -> Self {
        Self::Name(name.to_owned())
    }

    /// Calls `f` on each direct part.
    pub(super) fn parts(&self) -> Vec<&Expr> {
        match self {
            Self::Number(..) | Self::Name(_) | Self::Based(..) | Self::Text(_) => Vec::new(),
            Self::Neg(a) | Self::Root(_, a) | Self::Factorial(a) | Self::Percent(a) | Self::Degrees(a) => vec![a],
            Self::Div(a, b) | Self::Pow(a, b) | Self::PlusMinus(a, b, _) | Self::Without(a, b) => vec![a, b],
            Self::Interval(a, _, b, _) => vec![a, b],
            Self::Add(all) | Self::Mul(all) | Self::Call(_, all) | Self::List(all) | Self::Groups(all) => {
                all.iter().collect()
            }
            Self::Tuple(all) | Self::Set(all) | Self::Union(all) | Self::Ratio(all) => all.iter().collect(),
            Self::Matrix(rows) => rows.iter().flatten().collect(),
            Self::Chain(first, rest) => std::iter::once(&**first).chain(rest.iter().map(|(_, part)| part)).collect(),
        }
    }

    /// Returns whether this or any part of it satisfies `test`.
    pub(super) fn any(&self, test: &dyn Fn(&Expr) -> bool) -> bool {
        test(self) || self.parts().into_iter().any(|part| part.any(test))
    }

    /// Returns a copy in which `±` stands for plus, and `∓` for minus, or the other way round.
    pub(super) fn with_signs(&self, plus: bool) -> Expr {
        let one = |part: &Expr| Box::new(part.with_signs(plus));
        let all = |parts: &[Expr]| parts.iter().map(|part| part.with_signs(plus)).collect::<Vec<_>>();
        match self {
            Self::PlusMinus(a, b, opposite) => {
                let b = b.with_signs(plus);
                Self::Add(vec![a.with_signs(plus), if plus == *opposite { Self::Neg(Box::new(b)) } else { b }])
            }
            Self::Neg(a) => Self::Neg(one(a)),
            Self::Root(n, a) => Self::Root(*n, one(a)),
            Self::Div(a, b) => Self::Div(one(a), one(b)),
            Self::Pow(a, b) => Self::Pow(one(a), one(b)),
            Self::Add(parts) => Self::Add(all(parts)),
            Self::Mul(parts) => Self::Mul(all(parts)),
            Self::Call(name, parts) => Self::Call(name.clone(), all(parts)),
            Self::Tuple(parts) => Self::Tuple(all(parts)),
            Self::Chain(first, rest) => Self::Chain(
                one(first),
                rest.iter().map(|(relation, part)| (*relation, part.with_signs(plus))).collect(),
            ),
            other => other.clone(),
        }
    }
}
