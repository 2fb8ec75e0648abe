//! `test`, `[` and `[[`.

use brush_parser::ast::{BinaryPredicate, ExtendedTestExpr, UnaryPredicate};
use futures::FutureExt;
use futures::future::BoxFuture;
use regex_lite::Regex;

use super::expand::Expanded;
use super::state::Shell;
use crate::files::{FileSystem, FileType, join};

/// Evaluates the operands of `test`.
pub(super) fn evaluate(
    files: &FileSystem,
    directory: &str,
    operands: &[String],
) -> Result<bool, String> {
    let mut parser = Test { files, directory, rest: operands };
    if operands.is_empty() {
        return Ok(false);
    }
    // POSIX: few operands are read by their number, so that `[ "$x" = "(" ]` works.
    match operands {
        [one] => return Ok(!one.is_empty()),
        [bang, one] if bang == "!" => return Ok(one.is_empty()),
        [left, operator, right] => {
            if let Some(truth) = parser.binary(left, operator, right)? {
                return Ok(truth);
            }
        }
        _ => {}
    }
    let truth = parser.or()?;
    match parser.rest.first() {
        None => Ok(truth),
        Some(extra) => Err(format!("{extra}: unknown operand")),
    }
}

struct Test<'a> {
    files: &'a FileSystem,
    directory: &'a str,
    rest: &'a [String],
}

impl<'a> Test<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.rest.first().map(String::as_str)
    }

    fn next(&mut self) -> Result<&'a str, String> {
        let (first, rest) = self.rest.split_first().ok_or("argument expected")?;
        self.rest = rest;
        Ok(first)
    }

    fn or(&mut self) -> Result<bool, String> {
        let mut truth = self.and()?;
        while self.peek() == Some("-o") {
            self.next()?;
            truth |= self.and()?;
        }
        Ok(truth)
    }

    fn and(&mut self) -> Result<bool, String> {
        let mut truth = self.not()?;
        while self.peek() == Some("-a") {
            self.next()?;
            truth &= self.not()?;
        }
        Ok(truth)
    }

    fn not(&mut self) -> Result<bool, String> {
        let mut negated = false;
        while self.peek() == Some("!") {
            self.next()?;
            negated = !negated;
        }
        Ok(self.primary()? != negated)
    }

    fn primary(&mut self) -> Result<bool, String> {
        let first = self.next()?;
        if let [operator, right, ..] = self.rest
            && let Some(truth) = self.binary(first, operator, right)?
        {
            self.rest = &self.rest[2..];
            return Ok(truth);
        }
        if first == "(" {
            let (inner, after) = match self.rest.iter().rposition(|word| word == ")") {
                Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
                None => return Err("closing paren expected".to_owned()),
            };
            // Only the outermost pair recurses; deeper ones are found the same way.
            if inner.len() > 256 {
                return Err("too many arguments".to_owned());
            }
            let truth = evaluate(self.files, self.directory, inner)?;
            self.rest = after;
            return Ok(truth);
        }
        if let Some(flag) = unary(first)
            && let Ok(operand) = self.next()
        {
            return Ok(self.check(flag, operand));
        }
        Ok(!first.is_empty())
    }

    fn check(&self, flag: char, operand: &str) -> bool {
        check(self.files, self.directory, flag, operand)
    }

    fn binary(&self, left: &str, operator: &str, right: &str) -> Result<Option<bool>, String> {
        let modified = |path: &str| {
            self.files.metadata(&join(self.directory, path)).ok().map(|found| found.modified)
        };
        let truth = match operator {
            "=" | "==" => left == right,
            "!=" => left != right,
            "<" => left < right,
            ">" => left > right,
            "-nt" => modified(left) > modified(right),
            "-ot" => modified(left) < modified(right),
            "-ef" => {
                let path = |path| self.files.resolve(&join(self.directory, path), true).ok();
                path(left).is_some() && path(left) == path(right)
            }
            "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" => {
                compare(operator, integer(left)?, integer(right)?)
            }
            _ => return Ok(None),
        };
        Ok(Some(truth))
    }
}

fn integer(text: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| format!("{text}: bad number"))
}

fn compare(operator: &str, left: i64, right: i64) -> bool {
    match operator {
        "-eq" => left == right,
        "-ne" => left != right,
        "-lt" => left < right,
        "-le" => left <= right,
        "-gt" => left > right,
        _ => left >= right,
    }
}

fn unary(word: &str) -> Option<char> {
    let flag = word.strip_prefix('-')?;
    let mut chars = flag.chars();
    let char = chars.next()?;
    (chars.next().is_none() && "abcdefghknprstuwxzLOSG".contains(char)).then_some(char)
}

fn check(files: &FileSystem, directory: &str, flag: char, operand: &str) -> bool {
    let path = join(directory, operand);
    let found = files.metadata(&path);
    let mode = |bits: u32| found.as_ref().is_ok_and(|found| found.mode & bits != 0);
    match flag {
        'n' => !operand.is_empty(),
        'z' => operand.is_empty(),
        'e' | 'a' | 'O' | 'G' | 'r' => found.is_ok(),
        'f' => found.is_ok_and(|f| matches!(f.kind, FileType::File | FileType::Executable)),
        'd' => found.is_ok_and(|found| found.is_dir()),
        'h' | 'L' => files.symlink_metadata(&path).is_ok_and(|f| f.kind == FileType::Symlink),
        's' => found.is_ok_and(|found| found.size > 0),
        'c' => found.is_ok_and(|found| matches!(found.kind, FileType::Device(_))),
        'w' => found.is_ok() && !files.is_read_only(&path),
        'x' => mode(0o111),
        'u' => mode(0o4000),
        'g' => mode(0o2000),
        'k' => mode(0o1000),
        // No block devices, FIFOs, sockets; no terminal behind a number.
        _ => false,
    }
}

impl Shell {
    /// `[[ … ]]`
    pub(super) fn extended_test<'a>(
        &'a mut self,
        expression: &'a ExtendedTestExpr,
    ) -> BoxFuture<'a, Expanded<bool>> {
        async move {
            match expression {
                ExtendedTestExpr::And(left, right) => {
                    Ok(self.extended_test(left).await? && self.extended_test(right).await?)
                }
                ExtendedTestExpr::Or(left, right) => {
                    Ok(self.extended_test(left).await? || self.extended_test(right).await?)
                }
                ExtendedTestExpr::Not(inner) => Ok(!self.extended_test(inner).await?),
                ExtendedTestExpr::Parenthesized(inner) => self.extended_test(inner).await,
                ExtendedTestExpr::UnaryTest(predicate, word) => {
                    let operand = self.text(&word.value).await?;
                    if let UnaryPredicate::ShellVariableIsSetAndAssigned = predicate {
                        return Ok(self.get(&operand).is_some());
                    }
                    let flag = flag(predicate).ok_or_else(|| "unknown condition".to_owned())?;
                    Ok(check(&self.context.files, self.directory(), flag, &operand))
                }
                ExtendedTestExpr::BinaryTest(predicate, left, right) => {
                    let left = self.text(&left.value).await?;
                    self.binary_predicate(predicate, &left, &right.value).await
                }
            }
        }
        .boxed()
    }

    async fn binary_predicate(
        &mut self,
        predicate: &BinaryPredicate,
        left: &str,
        right: &str,
    ) -> Expanded<bool> {
        use BinaryPredicate as B;
        match predicate {
            B::StringExactlyMatchesPattern => return Ok(self.pattern(right).await?.matches(left)),
            B::StringDoesNotExactlyMatchPattern => {
                return Ok(!self.pattern(right).await?.matches(left));
            }
            _ => {}
        }
        let right = self.text(right).await?;
        let operator = match predicate {
            B::StringMatchesRegex => {
                let regex = Regex::new(&right).map_err(|_| format!("{right}: bad regex"))?;
                return Ok(regex.is_match(left));
            }
            B::StringContainsSubstring => return Ok(left.contains(&right)),
            B::StringExactlyMatchesString => "=",
            B::StringDoesNotExactlyMatchString => "!=",
            B::LeftSortsBeforeRight => "<",
            B::LeftSortsAfterRight => ">",
            B::LeftFileIsNewerOrExistsWhenRightDoesNot => "-nt",
            B::LeftFileIsOlderOrDoesNotExistWhenRightDoes => "-ot",
            B::FilesReferToSameDeviceAndInodeNumbers => "-ef",
            B::ArithmeticEqualTo => "-eq",
            B::ArithmeticNotEqualTo => "-ne",
            B::ArithmeticLessThan => "-lt",
            B::ArithmeticLessThanOrEqualTo => "-le",
            B::ArithmeticGreaterThan => "-gt",
            B::ArithmeticGreaterThanOrEqualTo => "-ge",
            B::StringExactlyMatchesPattern | B::StringDoesNotExactlyMatchPattern => {
                return Ok(false);
            }
        };
        if operator.len() == 3 && !matches!(operator, "-nt" | "-ot" | "-ef") {
            let (left, right) = (self.arithmetic(left)?, self.arithmetic(&right)?);
            return Ok(compare(operator, left, right));
        }
        let operands = [left.to_owned(), operator.to_owned(), right];
        Ok(evaluate(&self.context.files, self.directory(), &operands)?)
    }
}

fn flag(predicate: &UnaryPredicate) -> Option<char> {
    use UnaryPredicate as U;
    Some(match predicate {
        U::FileExists => 'e',
        U::FileExistsAndIsBlockSpecialFile => 'b',
        U::FileExistsAndIsCharSpecialFile => 'c',
        U::FileExistsAndIsDir => 'd',
        U::FileExistsAndIsRegularFile => 'f',
        U::FileExistsAndIsSetgid => 'g',
        U::FileExistsAndIsSymlink => 'h',
        U::FileExistsAndHasStickyBit => 'k',
        U::FileExistsAndIsFifo => 'p',
        U::FileExistsAndIsReadable => 'r',
        U::FileExistsAndIsNotZeroLength => 's',
        U::FdIsOpenTerminal => 't',
        U::FileExistsAndIsSetuid => 'u',
        U::FileExistsAndIsWritable => 'w',
        U::FileExistsAndIsExecutable => 'x',
        U::FileExistsAndOwnedByEffectiveGroupId => 'G',
        U::FileExistsAndOwnedByEffectiveUserId => 'O',
        U::FileExistsAndIsSocket => 'S',
        U::StringHasZeroLength => 'z',
        U::StringHasNonZeroLength => 'n',
        _ => return None,
    })
}
