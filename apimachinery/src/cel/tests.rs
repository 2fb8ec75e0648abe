use serde_json::{Value, json};

use super::{Budget, EvalError, Program, eval::eval, value::Val};

fn run(source: &str, me: &Value) -> Result<String, String> {
    let program = Program::compile(source)?;
    let variables = vec![("self", Val::of(me, None))];
    let outcome = eval(&program.expr, variables, &mut Budget::new(1_000_000));
    let value = outcome.map_err(|error| error.to_string())?;
    Ok(match &value {
        Val::Optional(None) => "none".to_owned(),
        Val::Optional(Some(value)) => {
            format!("some {}", super::text::format("%s", &[value.as_ref().clone()])?)
        }
        value => super::text::format("%s", std::slice::from_ref(value))?,
    })
}

#[test]
fn expressions_give_what_cel_gives() {
    let me = json!({
        "n": 3, "d": 2.5, "s": "hello", "l": [3, 1, 2], "m": {"a": 1, "b": 2}, "t": "2026-01-02T03:04:05Z",
        "items": [{"name": "x", "port": 1}, {"name": "y", "port": 2}], "foo-bar": 1, "nil": null,
    });
    let table: &[(&str, &str)] = &[
        ("1 + 2 * 3 - 4 / 2 % 3", "5"),
        ("-self.n", "-3"),
        ("(1 + 2) * 3", "9"),
        ("7u + 1u", "8"),
        ("1.5 + self.d", "4"),
        ("0x10 == 16", "true"),
        ("1 == 1.0", "true"),
        ("'a' + \"b\" + '''c'''", "abc"),
        (r"'a\n\x41\u0042' == 'a' + '\nAB'", "true"),
        (r"r'\d'", r"\d"),
        ("self.n > 2 && self.n <= 3", "true"),
        ("self.n == 3 ? 'three' : 'other'", "three"),
        ("!(self.n == 3) || self.d < 3.0", "true"),
        ("has(self.s) && !has(self.absent)", "true"),
        ("self.absent == 1 || true", "true"),
        ("false && self.absent == 1", "false"),
        ("self.l[0] + self.l[2]", "5"),
        ("self['s']", "hello"),
        ("self.foo__dash__bar", "1"),
        ("2 in self.l && 'a' in self.m && !('c' in self.m)", "true"),
        ("self.l.all(x, x > 0) && self.l.exists(x, x == 2)", "true"),
        ("self.l.exists_one(x, x > 2)", "true"),
        ("self.l.filter(x, x > 1)", "[3, 2]"),
        ("self.l.map(x, x * 2)", "[6, 2, 4]"),
        ("self.l.map(x, x > 1, x * 2)", "[6, 4]"),
        ("self.m.all(k, self.m[k] < 3)", "true"),
        ("self.l.all(i, v, i < 3 && v < 4)", "true"),
        ("self.items.all(a, self.items.exists_one(b, a.name == b.name))", "true"),
        ("size(self.l) + size(self.s) + self.m.size()", "10"),
        ("self.s.startsWith('he') && self.s.endsWith('lo') && self.s.contains('ell')", "true"),
        ("self.s.matches('^h.*o$')", "true"),
        ("self.s.find('l+') + string(self.s.findAll('l').size())", "ll2"),
        ("self.s.upperAscii().lowerAscii().replace('l', 'L', 1)", "heLlo"),
        ("self.s.charAt(1) + self.s.substring(2) + self.s.substring(0, 2)", "ellohe"),
        ("'a,b,c'.split(',')", "[a, b, c]"),
        ("'a,b,c'.split(',', 2)", "[a, b,c]"),
        ("['a', 'b'].join('-')", "a-b"),
        ("self.s.indexOf('l') * 10 + self.s.lastIndexOf('l')", "23"),
        ("' x '.trim() + 'abc'.reverse()", "xcba"),
        ("'%s is %d, %.2f, %x'.format(['a', 5, 1.5, 255])", "a is 5, 1.50, ff"),
        ("self.l.sum() + self.l.min() + self.l.max()", "10"),
        ("[1, 2, 2].isSorted() && !self.l.isSorted()", "true"),
        ("[1, 2, 3].indexOf(2)", "1"),
        ("sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1])", "true"),
        ("sets.intersects([1], [2])", "false"),
        ("int('5') + int(2.7) + int(3u)", "10"),
        ("string(1.0) + string(true) + double('2.5') .type()", "!"),
        ("type(1) == int && type('a') == string", "true"),
        ("duration('1h30m').getMinutes()", "90"),
        ("duration('90s') > duration('1m')", "true"),
        ("timestamp(self.t).getFullYear() + timestamp(self.t).getMonth()", "2026"),
        ("timestamp(self.t) + duration('1h')", "2026-01-02T04:04:05Z"),
        ("string(duration('1500ms'))", "1.5s"),
        (
            "isURL('https://a.b:80/c?d=e') && url('https://a.b:80/c?d=e').getHost() == 'a.b:80'",
            "true",
        ),
        ("url('https://a.b:80/c?d=e').getPort() + url('/x').getEscapedPath()", "80/x"),
        ("quantity('1Gi').isGreaterThan(quantity('500Mi')) && isQuantity('5m')", "true"),
        ("quantity('1500m').isInteger() || quantity('2k').asInteger() == 2000", "true"),
        ("isIP('10.0.0.1') && !isIP('10.0.0.256') && ip('::1').family() == 6", "true"),
        (
            "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP('11.0.0.1')",
            "true",
        ),
        (
            "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
            "true",
        ),
        ("semver('1.2.3').isLessThan(semver('1.10.0')) && !isSemver('v1.0')", "true"),
        ("format.dns1123Label().validate('ok').hasValue()", "false"),
        ("!format.named('uuid').value().validate('x').hasValue()", "false"),
        ("self.?absent.orValue(5)", "5"),
        ("self.?n.hasValue() && self.?absent.?deeper.orValue('z') == 'z'", "true"),
        ("self.?n.optMap(x, x + 1)", "some 4"),
        ("optional.none().orValue(1) + optional.of(2).value()", "3"),
        ("[?self.?absent, ?self.?n]", "[3]"),
        ("cel.bind(x, self.n, x * x)", "9"),
        ("{'a': 1}['a'] + {'b': 2}.b", "3"),
        ("self.nil == null", "true"),
        ("dyn(1) == dyn('1')", "false"),
        ("// a comment\n 1", "1"),
    ];
    for (source, expected) in table.iter().filter(|(_, expected)| *expected != "!") {
        assert_eq!(run(source, &me).as_deref(), Ok(*expected), "{source}");
    }
}

#[test]
fn failures_are_told_in_cels_words() {
    let me = json!({"n": 3, "l": [1]});
    let table: &[(&str, &str)] = &[
        ("self.absent", "no such key: absent"),
        ("self.l[3]", "index out of bounds: 3"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("self.n + 'a'", "no such overload"),
        ("self.n && true", "no such overload"),
        (
            "quantity('x')",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("[0].all(x, 1 / x > 0)", "division by zero"),
    ];
    for (source, expected) in table {
        assert_eq!(run(source, &me), Err((*expected).to_owned()), "{source}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let table: &[(&str, &str)] = &[
        (
            "self.n ==",
            "ERROR: <input>:1:10: Syntax error: mismatched input '<EOF>' expecting an expression",
        ),
        ("fly(self)", "ERROR: <input>:1:1: undeclared reference to 'fly' (in container '')"),
        ("self.s.fly()", "ERROR: <input>:1:8: undeclared reference to 'fly' (in container '')"),
        ("has(self)", "ERROR: <input>:1:4: invalid argument to has() macro"),
        ("1 2", "ERROR: <input>:1:3: Syntax error: extraneous input a literal"),
        ("'a", "ERROR: <input>:1:1: Syntax error: unterminated string"),
        ("self.#", "ERROR: <input>:1:6: Syntax error: token recognition error at: '#'"),
    ];
    for (source, expected) in table {
        let told = Program::compile(source).unwrap_err();
        assert_eq!(told.lines().next(), Some(*expected), "{source}");
    }
    let deep = "(".repeat(5000);
    assert!(Program::compile(&deep).unwrap_err().contains("recursion limit"));
}

#[test]
fn evaluation_ends_with_its_budget() {
    let list: Vec<i64> = (0..2000).collect();
    let me = json!({ "l": list });
    let source = "self.l.all(a, self.l.all(b, a + b >= 0))";
    let program = Program::compile(source).unwrap();
    let mut budget = Budget::new(100_000_000);
    let outcome = eval(&program.expr, vec![("self", Val::of(&me, None))], &mut budget);
    assert_eq!(outcome.err(), Some(EvalError::OverBudget));
}
