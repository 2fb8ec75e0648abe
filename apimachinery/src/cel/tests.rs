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
        ("string(1.0) + string(true) + string(type(double('2.5')))", "1truedouble"),
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
    for (source, expected) in table {
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
fn places_are_told_by_line_and_column() {
    let check = |source: &str, expected: &str| {
        assert_eq!(Program::compile(source).unwrap_err(), expected, "{source}");
    };
    check(
        "self.a ==\n  self.#",
        "ERROR: <input>:2:8: Syntax error: token recognition error at: '#'\n |   self.#\n | .......^",
    );
    check(
        "self.a == \u{201c}x\u{201d}",
        "ERROR: <input>:1:11: Syntax error: token recognition error at: '\u{201c}'\n | self.a == \u{201c}x\u{201d}\n | ..........^",
    );
    check(
        "1 < 9223372036854775808",
        "ERROR: <input>:1:5: invalid int literal\n | 1 < 9223372036854775808\n | ....^",
    );
    check(
        "self.s.matches('(')",
        "ERROR: <input>:1:16: invalid matches argument\n | self.s.matches('(')\n | ...............^",
    );
    let smallest = "-9223372036854775808 < -9223372036854775807";
    assert_eq!(run(smallest, &json!(null)).as_deref(), Ok("true"));
}

/// Sources that are too long or too high, one way or another, and such as are nearly so.
#[test]
fn expressions_are_bounded() {
    let compiled = |source: &str| Program::compile(source).map(|_| ());
    let refused = |source: &str, why: &str| {
        let told = compiled(source).unwrap_err();
        assert!(told.contains(why), "{told:.200}");
    };
    let too_high = "expression recursion limit exceeded: 250";
    for (first, link) in [
        ("1", "+1"),
        ("self", ".a"),
        ("self", "[0]"),
        ("1", "*1"),
        ("self", ".size()"),
        ("1", "==1"),
    ] {
        refused(&format!("{first}{}", link.repeat(14_000)), too_high);
        // What passes can be walked and dropped.
        let source = format!("{first}{}", link.repeat(240));
        let program = Program::compile(&source).unwrap();
        let _ = super::check::check(&program.expr, &[("self", super::check::Ty::Dyn)], &source);
        let _ = run(&source, &json!({}));
    }
    let too_deep = "expression recursion limit exceeded: 100";
    refused(&".".repeat(50_000), "expecting an expression");
    refused(&format!("{}1", "-!".repeat(20_000)), too_high);
    refused(&"[".repeat(20_000), too_deep);
    refused(&"1||1&&1==1+1*(".repeat(5_000), too_deep);
    refused(&"1?2:".repeat(20_000), too_deep);
    refused(&"has(a.b)?c.all(x,{1:[".repeat(4_000), too_deep);
    refused(
        &" ".repeat(100_001),
        "expression code point size exceeds limit: size: 100001, limit 100000",
    );
    // Chains within parentheses are as high as all of them together.
    let nested = (0..90).fold("1".to_owned(), |inner, _| format!("({inner}{})", "+1".repeat(100)));
    refused(&nested, too_high);
    // Deep ones that pass.
    for (open, close, count) in [
        ("(", ")", 90),
        ("[", "]", 90),
        ("-(", ")", 90),
        ("[1].map(x,", ")", 90),
        ("1||1&&1==1+1*(", ")", 45),
    ] {
        let source = format!("{}1{}", open.repeat(count), close.repeat(count));
        compiled(&source).unwrap();
        let _ = run(&source, &json!({}));
    }
    // Conditions may be many.
    let many = vec!["self.a == 1"; 5000].join(" || ");
    assert_eq!(run(&many, &json!({"a": 1})).as_deref(), Ok("true"));
    assert_eq!(run(&many, &json!({"a": 2})).as_deref(), Ok("false"));
    let all = vec!["self.a == 1"; 5001].join(" && ");
    assert_eq!(run(&all, &json!({"a": 1})).as_deref(), Ok("true"));
}

/// How many steps an expression takes; None: more than there are.
fn steps(source: &str, me: &Value) -> Option<u64> {
    let program = Program::compile(source).unwrap();
    let mut budget = Budget::new(1_000_000);
    match eval(&program.expr, vec![("self", Val::of(me, None))], &mut budget) {
        Err(EvalError::OverBudget) => None,
        Err(error) => panic!("{source:.100}: {error}"),
        Ok(_) => Some(1_000_000 - budget.total),
    }
}

/// Each of these would take hours or all memory if it were not paid for before it is done.
#[test]
fn work_is_paid_before_it_is_done() {
    let numbers: Vec<i64> = (0..2000).collect();
    let query = "a=1&".repeat(300_000);
    let me =
        json!({ "l": numbers, "s": "ab".repeat(200_000), "q": format!("/x?{query}"), "b": "b" });
    // Each binding has the one before it twice.
    let doubled = |make: &str, last: &str| {
        let bindings: String = (1..60)
            .map(|n| format!("cel.bind(v{n}, {}, ", make.replace('v', &format!("v{}", n - 1))))
            .collect();
        format!("cel.bind(v0, [0, 0], {bindings}{last}{}", ")".repeat(60))
    };
    let table = [
        "self.l.all(a, self.l.all(b, a + b >= 0))".to_owned(),
        doubled("[v, v]", "v59 == v59"),
        doubled("{1: v, 2: v}", "v59 == v59"),
        doubled("v + v", "v59.size()"),
        "self.s.replace('', self.s)".to_owned(),
        "self.l.map(x, 'a').join(self.s)".to_owned(),
        "self.l.map(x, 'a' + self.s)".to_owned(),
        "self.l.map(x, self.s.split(''))".to_owned(),
        "self.s.findAll('(a|b)*c|a')".to_owned(),
        "self.l.all(x, !self.s.matches('x{0,900}y'))".to_owned(),
        "self.l.all(x, !self.s.matches('x{0,900}' + self.b + 'y{900}'))".to_owned(),
        "self.l.all(x, !self.b.matches('y{0,900}x{' + '900}'))".to_owned(),
        "self.l.all(x, url(self.q).getQuery().size() == 1)".to_owned(),
        "self.l.all(x, [self.l, self.l].indexOf(self.l) == 0)".to_owned(),
        "sets.contains(self.l.map(x, self.l), self.l.map(x, self.l))".to_owned(),
    ];
    for source in &table {
        assert_eq!(steps(source, &me), None, "{source:.100}");
    }
    // What is shared is not unfolded, and not copied.
    let few = [
        ("cel.bind(t, self.s, self.l.all(x, t != 'a'))", 40_000),
        ("cel.bind(t, self.s + 'c', self.l.map(x, t).size()) == 2000", 200_000),
        ("self.l.all(x, size(self.l) == 2000)", 20_000),
        ("self.s.indexOf('ab' + self.s) == -1", 200_000),
        ("self.l.exists(x, x == 3)", 300),
        ("self.l == [1]", 10),
    ];
    for (source, most) in few {
        let steps = steps(source, &me).unwrap_or(u64::MAX);
        assert!(steps < most, "{source}: {steps}");
    }
}

#[test]
fn lists_that_are_sets_or_maps_are_equal_in_any_order_and_soon_told() {
    use crate::structural::Structural;

    let schema = Structural::parse(&json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "number"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
            "items": {"type": "object", "properties": {
                "a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": "integer"}}}},
    }}))
    .unwrap();
    let set: Vec<i64> = (0..30_000).collect();
    let map: Vec<Value> = set.iter().map(|n| json!({"a": "x", "b": n, "c": 1})).collect();
    let me = json!({ "set": set, "map": map });
    let mut reversed = me.clone();
    for list in ["set", "map"] {
        reversed[list].as_array_mut().unwrap().reverse();
    }
    let mut other = reversed.clone();
    other["map"][5]["c"] = json!(2);
    other["set"][5] = json!(-1);
    let equal = |field: &str, old: &Value| {
        let program = Program::compile(&format!("self.{field} == oldSelf.{field}")).unwrap();
        let value = |of| Val::of(of, Some(&schema));
        let variables = vec![("self", value(&me)), ("oldSelf", value(old))];
        match eval(&program.expr, variables, &mut Budget::new(1_000_000)) {
            Ok(Val::Bool(same)) => same,
            other => panic!("{other:?}"),
        }
    };
    assert!(equal("set", &reversed) && equal("map", &reversed));
    assert!(!equal("set", &other) && !equal("map", &other));
}

#[test]
fn maps_have_keys_that_are_keys_each_once() {
    let table = [
        ("{'b': 1, 'a': 2, 3: 4}.map(k, string(k))", Ok("[a, b, 3]")),
        ("{1: 'x'}[1.0] + {1u: 'y'}[1]", Ok("xy")),
        ("1 in {1: 2} && !('1' in {1: 2}) && {true: 1}[true] == 1", Ok("true")),
        ("{1: 1, 1u: 2}", Err("failed with repeated key")),
        ("{[]: 1}", Err("unsupported key type")),
        ("url('/x?a=1&b=2&a=3').getQuery()", Ok("{a: [1, 3], b: [2]}")),
        ("['a', 'b'].sum()", Err("no such overload")),
    ];
    for (source, expected) in table {
        let expected = expected.map(ToOwned::to_owned).map_err(ToOwned::to_owned);
        assert_eq!(run(source, &json!(null)), expected, "{source}");
    }
}

#[test]
fn texts_and_times_at_their_edges() {
    let hours = |zone: &str| format!("timestamp('2026-01-02T03:04:05Z').getHours('{zone}')");
    let table = [
        (hours("99999999:00"), Err("unknown time zone 99999999:00")),
        (hours("-08:00"), Ok("19")),
        (
            "'a\u{fc}bab'.indexOf('b', 3) * 10 + 'a\u{fc}bab'.lastIndexOf('b', 3)".to_owned(),
            Ok("42"),
        ),
        ("'abc'.indexOf('', 1) + 'abc'.lastIndexOf('')".to_owned(), Ok("4")),
        ("'aaa'.replace('a', 'b', -1) + 'aaa'.replace('a', 'b', 0)".to_owned(), Ok("bbbaaa")),
        ("'abcabc'.findAll('[ab]', 3)".to_owned(), Ok("[a, b, a]")),
        ("semver('1.0.0-a.2').isLessThan(semver('1.0.0-a.10'))".to_owned(), Ok("true")),
        ("semver('1.0.0-a').isLessThan(semver('1.0.0'))".to_owned(), Ok("true")),
    ];
    for (source, expected) in table {
        let expected = expected.map(ToOwned::to_owned).map_err(ToOwned::to_owned);
        assert_eq!(run(&source, &json!(null)), expected, "{source}");
    }
}

#[test]
fn types_that_never_fit_are_told() {
    use super::check::{Ty, check};
    use crate::structural::Structural;

    let schema = Structural::parse(&json!({"type": "object", "properties": {
        "n": {"type": "integer"}, "s": {"type": "string"}, "t": {"type": "string", "format": "date-time"},
        "l": {"type": "array", "items": {"type": "string"}}, "b": {"type": "boolean"},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
        "any": {"x-kubernetes-preserve-unknown-fields": true},
    }}))
    .unwrap();
    let checked = |source: &str| {
        let program = Program::compile(source)?;
        check(&program.expr, &[("self", Ty::Schema(&schema, false))], source)
    };
    let bad: &[(&str, &str, &str, &str)] = &[
        ("self.n && self.b", "1:8", "_&&_", "(int, bool)"),
        ("self.b || self.s", "1:8", "_||_", "(bool, string)"),
        ("!self.n", "1:1", "!_", "(int)"),
        ("self.n ? true : false", "1:8", "_?_:_", "(int, bool, bool)"),
        ("(self.b ? 1 : 'a') == 1", "1:9", "_?_:_", "(bool, int, string)"),
        ("self.s.startsWith(1)", "1:8", "startsWith", "string.(int)"),
        ("self.s.startsWith('a', 'b')", "1:8", "startsWith", "string.(string, string)"),
        ("size(self.n) > 1", "1:1", "size", "(int)"),
        ("self.l.matches('a')", "1:8", "matches", "list(string).(string)"),
        ("self.l.all(x, x)", "1:8", "_&&_", "(bool, string)"),
        (
            "self.l.filter(x, x.size()).size() > 0",
            "1:8",
            "_?_:_",
            "(int, list(string), list(string))",
        ),
        ("self.l == 'a'", "1:8", "_==_", "(list(string), string)"),
        ("self.m['a'] == 'b'", "1:13", "_==_", "(int, string)"),
        ("self.l['a'] == 'b'", "1:7", "_[_]", "(list(string), string)"),
        ("self.b + self.any == 1", "1:8", "_+_", "(bool, dyn)"),
        ("-self.s == 'a'", "1:1", "-_", "(string)"),
        ("1 in 'a'", "1:3", "@in", "(int, string)"),
    ];
    for (source, place, function, applied) in bad {
        let told = checked(source).unwrap_err();
        let expected = format!(
            "ERROR: <input>:{place}: found no matching overload for '{function}' applied to '{applied}'"
        );
        assert_eq!(told.lines().next(), Some(expected.as_str()), "{source}");
    }
    let first = |source: &str| checked(source).unwrap_err().lines().next().map(ToOwned::to_owned);
    assert_eq!(
        first("self.n.all(x, true)").as_deref(),
        Some(
            "ERROR: <input>:1:8: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)"
        )
    );
    assert_eq!(
        first("self.b &&\n  nope").as_deref(),
        Some("ERROR: <input>:2:3: undeclared reference to 'nope' (in container '')")
    );
    for good in [
        "self.t > timestamp('2026-01-01T00:00:00Z') && self.t + duration('1h') > self.t",
        "self.any && self.any.all(x, x) && self.any + 1 > 2 && self.any.size() > 1",
        "self.l.map(x, x.size()).sum() > 1 && self.m.all(k, k.startsWith('a') && self.m[k] > 1)",
        "(self.b ? self.l : []).size() > 0 && self.s == (self.b ? null : 'a')",
        "{'a': 1}.a == 1 && {'a': 1}['a'] in [1] && {1: 2}.all(k, k > 0)",
        "self.?n.hasValue() && self.?n.orValue(1) == 1 && optional.of(self.n).value() == 1",
        "quantity(self.s).add(1).compareTo(quantity('1')) == 0 && type(self.n) == int",
        "self.l.exists_one(i, v, v == 'a') && self.l.filter(x, x != '').join(',') != self.s",
        "format.dns1123Label().validate(self.s).orValue([]).size() == 0 && string(self.n) != self.s",
        "cidr('10.0.0.0/8').containsIP(ip('10.0.0.1')) && self.l.indexOf('a') == -1",
        "semver('1.2.3').compareTo(semver('1.2.4')) < 0 && url(self.s).getQuery()['a'].size() == 1",
    ] {
        assert_eq!(checked(good), Ok(()), "{good}");
    }
}
