//! `math` and `cmp`: integers.

use super::{Answer, Failure, check_arity, value};
use crate::host::{Arguments, FunctionOutcome};

pub(super) fn math(function: &str, arguments: Arguments<'_>) -> Answer {
    let checked = |name: &str, result: Option<i64>| -> Answer {
        value(&result.ok_or_else(|| Failure(format!("i64 {name} overflow")))?)
    };
    match function {
        "add" => {
            let (x, y) = two(arguments)?;
            checked("add", x.checked_add(y))
        }
        "sub" => {
            let (x, y) = two(arguments)?;
            let y = y.checked_neg().ok_or("i64 neg overflow")?;
            checked("add", x.checked_add(y))
        }
        "mul" => {
            let (x, y) = two(arguments)?;
            checked("mul", x.checked_mul(y))
        }
        "fmul" => {
            let (x, y): (f64, f64) = pair(arguments)?;
            // The conversion saturates, and makes 0 of what is not a number.
            value(&((x * y).floor() as i64))
        }
        "div" => {
            let (x, y) = two(arguments)?;
            checked("div", x.checked_div(y))
        }
        "rem" => {
            let (x, y) = two(arguments)?;
            checked("rem", x.checked_rem(y))
        }
        "pow" => {
            let (x, y): (i64, u32) = pair(arguments)?;
            checked("pow", x.checked_pow(y))
        }
        "log" => {
            let (x, y) = two(arguments)?;
            checked("log", y.checked_ilog(x).map(i64::from))
        }
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

pub(super) fn cmp(function: &str, arguments: Arguments<'_>) -> Answer {
    match function {
        "gt" => two(arguments).and_then(|(x, y)| value(&(x > y))),
        "gte" => two(arguments).and_then(|(x, y)| value(&(x >= y))),
        "lt" => two(arguments).and_then(|(x, y)| value(&(x < y))),
        "lte" => two(arguments).and_then(|(x, y)| value(&(x <= y))),
        "cmp" => two(arguments).and_then(|(x, y)| value(&(x.cmp(&y) as i8))),
        _ => Ok(FunctionOutcome::NotDefined),
    }
}

fn two(arguments: Arguments<'_>) -> Result<(i64, i64), Failure> {
    pair(arguments)
}

fn pair<X, Y>(mut arguments: Arguments<'_>) -> Result<(X, Y), Failure>
where
    X: serde::de::DeserializeOwned,
    Y: serde::de::DeserializeOwned,
{
    check_arity(&arguments, 2)?;
    Ok((arguments.next("x")?, arguments.next("y")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::check;

    const MAX: i64 = i64::MAX;
    const MIN: i64 = i64::MIN;

    #[test]
    fn arithmetic() {
        check(&[
            ("math.add", json!([2, 3]), Ok(json!(5))),
            ("math.add", json!([MAX, 1]), Err("i64 add overflow")),
            ("math.add", json!([1]), Err("expected 2 arguments, got 1")),
            (
                "math.add",
                json!([1, 2, 3]),
                Err("expected 2 arguments, got 3"),
            ),
            (
                "math.add",
                json!([1.0, 2]),
                Err("Error: Error deserializing field 'x': expected i64, got 1.0\n…"),
            ),
            (
                "math.add",
                json!([1, "2"]),
                Err("Error: Error deserializing field 'y': expected i64, got \"2\"\n…"),
            ),
            (
                "math.add",
                json!([9_223_372_036_854_775_808_u64, 0]),
                Err(
                    "Error: Error deserializing field 'x': expected i64, got 9223372036854775808\n…",
                ),
            ),
            ("math.sub", json!([2, 3]), Ok(json!(-1))),
            ("math.sub", json!([-1, MIN]), Err("i64 neg overflow")),
            ("math.sub", json!([MIN, 1]), Err("i64 add overflow")),
            ("math.mul", json!([-2, 3]), Ok(json!(-6))),
            ("math.mul", json!([MAX, 2]), Err("i64 mul overflow")),
            ("math.fmul", json!([10, 0.66]), Ok(json!(6))),
            ("math.fmul", json!([0.5, 0.2]), Ok(json!(0))),
            ("math.fmul", json!([-0.5, 1]), Ok(json!(-1))),
            ("math.fmul", json!([1e300, 1e300]), Ok(json!(MAX))),
            ("math.fmul", json!([-1e300, 1e300]), Ok(json!(MIN))),
            ("math.div", json!([7, 2]), Ok(json!(3))),
            ("math.div", json!([-7, 2]), Ok(json!(-3))),
            ("math.div", json!([1, 0]), Err("i64 div overflow")),
            ("math.div", json!([MIN, -1]), Err("i64 div overflow")),
            ("math.rem", json!([7, 3]), Ok(json!(1))),
            ("math.rem", json!([-7, 3]), Ok(json!(-1))),
            ("math.rem", json!([7, -3]), Ok(json!(1))),
            ("math.rem", json!([1, 0]), Err("i64 rem overflow")),
            ("math.pow", json!([2, 10]), Ok(json!(1024))),
            ("math.pow", json!([0, 0]), Ok(json!(1))),
            ("math.pow", json!([2, 63]), Err("i64 pow overflow")),
            (
                "math.pow",
                json!([2, -1]),
                Err("Error: Error deserializing field 'y': expected u32, got -1\n…"),
            ),
            ("math.log", json!([2, 1024]), Ok(json!(10))),
            ("math.log", json!([10, 999]), Ok(json!(2))),
            ("math.log", json!([2, 0]), Err("i64 log overflow")),
            ("math.log", json!([1, 5]), Err("i64 log overflow")),
            ("math.log", json!([-2, 5]), Err("i64 log overflow")),
        ]);
    }

    #[test]
    fn comparison() {
        for (x, y, order) in [(1, 2, -1), (2, 2, 0), (3, 2, 1)] {
            check(&[
                ("cmp.gt", json!([x, y]), Ok(json!(x > y))),
                ("cmp.gte", json!([x, y]), Ok(json!(x >= y))),
                ("cmp.lt", json!([x, y]), Ok(json!(x < y))),
                ("cmp.lte", json!([x, y]), Ok(json!(x <= y))),
                ("cmp.cmp", json!([x, y]), Ok(json!(order))),
            ]);
        }
        check(&[
            ("cmp.cmp", json!([]), Err("expected 2 arguments, got 0")),
            (
                "cmp.lt",
                json!([null, 1]),
                Err("Error: Error deserializing field 'x': expected i64, got null\n…"),
            ),
        ]);
    }
}
