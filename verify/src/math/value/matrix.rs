//! Sums and products of matrices.

use super::super::expr::Expr;

type Rows = Vec<Vec<Expr>>;

/// Returns the matrix that a formula is; None if it is a number.
pub(super) fn matrix(expr: &Expr) -> Option<Rows> {
    match expr {
        Expr::Matrix(rows) => Some(rows.clone()),
        Expr::Neg(inner) => matrix(inner).map(|rows| map(&rows, |cell| Expr::Neg(Box::new(cell.clone())))),
        Expr::Add(parts) => {
            let mut parts = parts.iter().map(matrix);
            let mut sum = parts.next()??;
            for part in parts {
                let part = part?;
                if part.len() != sum.len() || part[0].len() != sum[0].len() {
                    return None;
                }
                for (row, other) in sum.iter_mut().zip(part) {
                    for (cell, other) in row.iter_mut().zip(other) {
                        *cell = Expr::Add(vec![cell.clone(), other]);
                    }
                }
            }
            Some(sum)
        }
        // Each product multiplies the size of the cells.
        Expr::Mul(parts)
            if parts.iter().filter(|part| part.any(&|part| matches!(part, Expr::Matrix(_)))).count() <= 3 =>
        {
            let mut product: Option<Rows> = None;
            let mut factors = Vec::new();
            for part in parts {
                match (matrix(part), product.take()) {
                    (None, before) => {
                        factors.push(part.clone());
                        product = before;
                    }
                    (Some(rows), None) => product = Some(rows),
                    (Some(rows), Some(before)) => product = Some(times(&before, &rows)?),
                }
            }
            let product = product?;
            if factors.is_empty() {
                return Some(product);
            }
            Some(map(&product, |cell| Expr::Mul(factors.iter().cloned().chain([cell.clone()]).collect())))
        }
        _ => None,
    }
}

fn map(rows: &Rows, f: impl Fn(&Expr) -> Expr) -> Rows {
    rows.iter().map(|row| row.iter().map(&f).collect()).collect()
}

/// Returns the product, unless the sizes do not fit or are large.
fn times(a: &Rows, b: &Rows) -> Option<Rows> {
    if a[0].len() != b.len() || a.len() * b.len() * b[0].len() > 200 {
        return None;
    }
    let cell = |row: &Vec<Expr>, j: usize| {
        Expr::Add(row.iter().zip(b).map(|(x, other)| Expr::Mul(vec![x.clone(), other[j].clone()])).collect())
    };
    Some(a.iter().map(|row| (0..b[0].len()).map(|j| cell(row, j)).collect()).collect())
}
