//! Says why a text is no time, in the words of Go's `time.Parse`.

/// Checks a text against RFC 3339; `micro` demands the six digits of `metav1.MicroTime`.
///
/// # Errors
/// Go's message.
pub(super) fn check(text: &str, micro: bool) -> Result<(), String> {
    let layout =
        if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    let syntax = |rest: &str, element: &str| {
        format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}")
    };
    let range = |what: &str| format!("parsing time {text:?}: {what} out of range");

    let mut rest = text;
    let mut numbers = [0; 6];
    for (slot, (element, after)) in numbers.iter_mut().zip(ELEMENTS) {
        *slot = digits(&mut rest, element.len()).ok_or_else(|| syntax(rest, element))?;
        if !after.is_empty() {
            rest = rest.strip_prefix(after).ok_or_else(|| syntax(rest, after))?;
        }
    }
    let [year, month, day, hour, minute, second] = numbers;
    if !(1..=12).contains(&month) {
        return Err(range("month"));
    }
    for (value, limit, what) in [(hour, 23, "hour"), (minute, 59, "minute"), (second, 59, "second")]
    {
        if value > limit {
            return Err(range(what));
        }
    }
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 || (micro && count != 6) {
            return Err(syntax(rest, if micro { ".000000" } else { "Z07:00" }));
        }
        rest = &fraction[count..];
    } else if micro {
        return Err(syntax(rest, ".000000"));
    }
    if let Some(end) = rest.strip_prefix('Z') {
        rest = end;
    } else {
        let zone = rest;
        let mut tail = rest.strip_prefix(['+', '-']).ok_or_else(|| syntax(zone, "Z07:00"))?;
        digits(&mut tail, 2).ok_or_else(|| syntax(zone, "Z07:00"))?;
        tail = tail.strip_prefix(':').ok_or_else(|| syntax(zone, "Z07:00"))?;
        digits(&mut tail, 2).ok_or_else(|| syntax(zone, "Z07:00"))?;
        rest = tail;
    }
    if !rest.is_empty() {
        return Err(format!("parsing time {text:?}: extra text: {rest:?}"));
    }
    if day < 1 || day > days_in(year, month) {
        return Err(range("day"));
    }
    Ok(())
}

/// The elements of the layout, each with the separator after it.
const ELEMENTS: [(&str, &str); 6] =
    [("2006", "-"), ("01", "-"), ("02", "T"), ("15", ":"), ("04", ":"), ("05", "")];

fn digits(rest: &mut &str, count: usize) -> Option<u32> {
    let head = rest.get(..count)?;
    if !head.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    *rest = &rest[count..];
    head.parse().ok()
}

const fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
