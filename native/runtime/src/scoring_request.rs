//! What the requests of the scoring service hold: undecoded transactions, how many, or why that cannot be said.

use crate::payload::protobuf::{count_embedded, embedded};
use crate::scoring::Refusal;

/// The transaction of a `ScoreRequest` or `ScoreStreamRequest`.
pub fn transaction_of(request: &[u8]) -> Result<&[u8], Refusal> {
    let refused = |code, message: &str| {
        Err(Refusal { field: "transaction", code, message: format!("transaction {message}") })
    };
    match whole(request)?[..] {
        [only] => Ok(only),
        [] => refused("missing", "is required and missing"),
        _ => refused("count", "appears twice"),
    }
}

/// The transactions of a `ScoreBatchRequest`, 1 to `rows_max`.
pub fn transactions_of(request: &[u8], rows_max: usize) -> Result<Vec<&[u8]>, Refusal> {
    let found = whole(request)?;
    if found.is_empty() || found.len() > rows_max {
        let message = format!("transactions has {} entries, must have 1 to {rows_max}", found.len());
        return Err(Refusal { field: "transactions", code: "count", message });
    }
    Ok(found)
}

/// How many transactions a `ScoreBatchRequest` holds, at most `rows_max + 1`; 0 where that cannot be said.
pub fn count_of(request: &[u8], rows_max: usize) -> usize {
    count_embedded(request, rows_max).unwrap_or(0)
}

fn whole(request: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    embedded(request).map_err(|malformed| Refusal {
        field: "",
        code: malformed.fault.code(),
        message: malformed.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: [u8; 7] = [0x0A, 1, b'a', 0x0A, 2, b'b', b'c'];

    #[test]
    fn transactions_come_out_as_they_are() {
        assert_eq!(transaction_of(&TWO[..3]).unwrap(), b"a");
        assert_eq!(transactions_of(&TWO, 2).unwrap(), [&b"a"[..], b"bc"]);
        assert_eq!((count_of(&TWO, 4), count_of(&TWO, 2), count_of(&TWO, 0)), (2, 2, 1));
        assert_eq!((count_of(&[], 4), count_of(&TWO[..6], 4)), (0, 0));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let code = |refused: Result<&[u8], Refusal>| refused.unwrap_err().code;
        assert_eq!(code(transaction_of(&[])), "missing");
        assert_eq!(code(transaction_of(&TWO)), "count");
        assert_eq!(code(transaction_of(&TWO[..6])), "truncated");
        for (request, most) in [(&TWO[..], 1), (&[], 1)] {
            assert_eq!(transactions_of(request, most).unwrap_err().field, "transactions");
        }
    }
}
