//! Scripts and what they give.

use std::time::Duration;

use crate::testing::{Ran, World};

/// Script, standard output, standard error, exit code.
type Case = (&'static str, &'static str, &'static str, i32);

async fn check_all(cases: &[Case]) {
    let world = World::new();
    let pod = world.pod("web-1");
    let mut wrong = Vec::new();
    for (script, stdout, stderr, code) in cases {
        let container = world.shell(&pod, Vec::new());
        let limit = world.clock.timeout(Duration::from_secs(10), container.sh(script));
        let ran = limit.await.unwrap_or_else(|_| panic!("{script:?} does not end"));
        let expected =
            Ran { stdout: (*stdout).to_owned(), stderr: (*stderr).to_owned(), code: *code };
        if ran != expected {
            wrong.push(format!("{script}\n   is {ran:?}\n want {expected:?}"));
        }
        container.kill();
    }
    world.runtime.shutdown().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn lists_and_pipes() {
    check_all(&[
        ("echo a; echo b", "a\nb\n", "", 0),
        ("true && echo yes || echo no", "yes\n", "", 0),
        ("false && echo yes || echo no", "no\n", "", 0),
        ("! false; echo $?", "0\n", "", 0),
        ("echo b a | tr ' ' '\\n' | sort | head -1", "a\n", "", 0),
        ("printf 'a\\nb\\n' | while read x; do echo \"<$x>\"; done", "<a>\n<b>\n", "", 0),
        ("yes | head -2", "y\ny\n", "", 0),
        ("while true; do echo x; done | head -1", "x\n", "", 0),
        ("( (echo a) ); ( (exit 2) ) || echo b", "a\nb\n", "", 0),
        ("(exit 3); echo $?", "3\n", "", 0),
        ("x=1; (x=2); echo $x", "1\n", "", 0),
        ("{ echo a; echo b; } | wc -l", "2\n", "", 0),
        ("false | true; echo $?", "0\n", "", 0),
        ("set -o pipefail; false | true; echo $?", "1\n", "", 0),
        ("sleep 0 & wait; echo done", "done\n", "", 0),
        ("(sleep 0; exit 4) & wait $!; echo $?", "4\n", "", 0),
        ("sleep inf & kill $!; wait $!; echo $?", "143\n", "", 0),
        ("exit 7", "", "", 7),
        ("nosuch", "", "sh: nosuch: not found\n", 127),
        ("nosuch || echo $?", "127\n", "sh: nosuch: not found\n", 0),
        ("/etc/passwd", "", "sh: /etc/passwd: Permission denied\n", 126),
        ("/bin/nosuch", "", "sh: /bin/nosuch: not found\n", 127),
    ])
    .await;
}

#[tokio::test]
async fn words() {
    check_all(&[
        ("x='a  b'; echo $x; echo \"$x\"", "a b\na  b\n", "", 0),
        ("echo '$x' \"\\$x\" \\$x", "$x $x $x\n", "", 0),
        ("echo \"a\\\nb\"", "ab\n", "", 0),
        ("echo ${x:-d} ${x-e} ${x:=f} $x ${x:+g} ${#x}", "d e f f g 1\n", "", 0),
        ("x=a.tar.gz; echo ${x%.*} ${x%%.*} ${x#*.} ${x##*.}", "a.tar a tar.gz gz\n", "", 0),
        ("x=hello; echo ${x/l/L} ${x//l/L} ${x:1:3}", "heLlo heLLo ell\n", "", 0),
        ("echo $(echo a; echo b) `echo c`", "a b c\n", "", 0),
        ("echo \"$(printf 'a\\n\\n')\"", "a\n", "", 0),
        ("echo $((1 + 2 * 3)) $((7 / 2)) $((2 ** 8)) $((010))", "7 3 256 8\n", "", 0),
        ("i=1; i=$((i + 1)); echo $i $((i++)) $i", "2 2 3\n", "", 0),
        ("echo $((1 / 0))", "", "sh: divide by zero\n", 2),
        ("f() { echo $# \"$1\"; }; f \"a b\" c; f", "2 a b\n0 \n", "", 0),
        ("set -- a 'b c'; for x in \"$@\"; do echo \"<$x>\"; done", "<a>\n<b c>\n", "", 0),
        ("set -- a 'b c'; echo \"$*\"; IFS=,; echo \"$*\"", "a b c\na,b c\n", "", 0),
        ("set --; for x in \"$@\"; do echo $x; done; echo \"$#\"", "0\n", "", 0),
        ("IFS=:; x=a:b::c; set -- $x; echo $#", "4\n", "", 0),
        ("x=; set -- $x \"\" a; echo $#", "2\n", "", 0),
        ("mkdir /t; cd /t; touch b a .c; echo *; echo '*' \"*\"; echo x*", "a b\n* *\nx*\n", "", 0),
        ("mkdir -p /t/d/e; touch /t/d/e/x; echo /t/*/*/x", "/t/d/e/x\n", "", 0),
        ("echo ~ ~/x", "/root /root/x\n", "", 0),
        ("A=1 env | grep ^A=; echo \"[$A]\"", "A=1\n[]\n", "", 0),
        ("export B=2; env | grep ^B=", "B=2\n", "", 0),
        ("x=$(exit 3); echo $?", "3\n", "", 0),
        ("echo ${x?gone}", "", "sh: x: gone\n", 2),
        ("set -u; echo $nope; echo on", "", "sh: nope: parameter not set\n", 2),
        ("readonly x=1; x=2; echo on", "", "sh: x: is read only\n", 2),
        ("a=(1 2)", "", "sh: arrays are not supported\n", 2),
        (
            "x='a*'; case abc in $x) echo 1;; esac; case abc in \"$x\") echo 2;; *) echo 3;; esac",
            "1\n3\n",
            "",
            0,
        ),
    ])
    .await;
}

#[tokio::test]
async fn compound_commands() {
    check_all(&[
        ("for i in 1 2 3; do echo $i; done", "1\n2\n3\n", "", 0),
        ("for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done", "1\n3\n", "", 0),
        ("while :; do while :; do break 2; done; done; echo out", "out\n", "", 0),
        ("i=0; until [ $i -ge 2 ]; do i=$((i+1)); done; echo $i", "2\n", "", 0),
        ("if false; then echo a; elif true; then echo b; else echo c; fi", "b\n", "", 0),
        ("case x in a|x) echo ok;; *) echo no;; esac", "ok\n", "", 0),
        ("f() { return 5; }; f; echo $?", "5\n", "", 0),
        ("f() { local x=1; g; echo $x; }; g() { x=2; }; f; echo \"[$x]\"", "2\n[]\n", "", 0),
        (
            "f() { [ $1 -le 1 ] && echo 1 && return; n=$(f $(($1 - 1))); echo $((n * $1)); }; f 6",
            "720\n",
            "",
            0,
        ),
        ("f() { [ $1 = 0 ] || f $(($1 - 1)); }; f 200; echo $?", "0\n", "", 0),
        ("f() { f; }; f; echo on", "", "sh: maximum function recursion depth exceeded\n", 2),
        ("set -e; false; echo on", "", "", 1),
        ("set -e; false || true; if false; then :; fi; ! true; echo on", "on\n", "", 0),
        ("set -x; echo a", "a\n", "+ echo a\n", 0),
        ("[[ abc == a* && 1 -lt 2 ]] && echo ok", "ok\n", "", 0),
        ("((1 < 2)) && echo ok", "ok\n", "", 0),
        ("trap 'echo bye' EXIT; echo hi", "hi\nbye\n", "", 0),
        ("eval 'x=1; echo $x'", "1\n", "", 0),
        ("if true; then", "", "sh: syntax error: unexpected end of file\n", 2),
        ("echo 'a", "", "sh: syntax error: unterminated quoted string\n", 2),
        ("while getopts ab: o -a -b x; do echo $o $OPTARG; done", "a\nb x\n", "", 0),
        ("command -v ls cd; type echo", "/bin/ls\ncd\necho is /bin/echo\n", "", 0),
    ])
    .await;
}

#[tokio::test]
async fn redirections() {
    check_all(&[
        ("echo a > /f; echo b >> /f; cat /f; cat < /f | wc -l", "a\nb\n2\n", "", 0),
        ("cat <<E\nx=$((1+1)) \"q\" $(echo \"s\")\nE", "x=2 \"q\" s\n", "", 0),
        ("cat <<'E'\n$x\nE", "$x\n", "", 0),
        ("cat <<-E\n\ta\n\tE", "a\n", "", 0),
        ("cat <<< word", "word\n", "", 0),
        ("echo err >&2", "", "err\n", 0),
        ("{ echo a; echo b >&2; } 2>&1 | sort", "a\nb\n", "", 0),
        ("nosuch 2>/dev/null; echo $?", "127\n", "", 0),
        ("echo a > /dev/stderr", "", "a\n", 0),
        ("cat < /nope", "", "sh: can't open /nope: no such file\n", 1),
        ("echo a > /nope/x", "", "sh: can't create /nope/x: nonexistent directory\n", 1),
        ("echo a > /etc/hosts", "", "sh: can't create /etc/hosts: Read-only file system\n", 1),
        ("exec 3>/f; echo a >&3; exec 3>&-; cat /f", "a\n", "", 0),
        ("exec > /f; echo a; cat /f >&2", "", "a\n", 0),
        ("while read a b; do echo $b; done <<E\n1 2 3\nE", "2 3\n", "", 0),
        ("printf '1\\n2\\n' > /f; while read x; do echo $x; done < /f", "1\n2\n", "", 0),
        ("head -c 3 /dev/zero | wc -c", "3\n", "", 0),
        ("> /f; ls -l /f | cut -c1-10", "-rw-r--r--\n", "", 0),
    ])
    .await;
}

#[tokio::test]
async fn commands() {
    check_all(&[
        ("printf '%s-%d|%5.2f|%-4s|%04d\\n' a 7 3.14159 ab 42", "a-7| 3.14|ab  |0042\n", "", 0),
        ("printf '%s\\n' a b c", "a\nb\nc\n", "", 0),
        ("printf '\\x41\\101\\n'; echo -e 'a\\tb'; echo -n x", "AA\na\tb\nx", "", 0),
        ("seq 3 | tac | tr '\\n' ' '", "3 2 1 ", "", 0),
        ("seq 1 100 | tail -n 2; seq 5 | head -n -3", "99\n100\n1\n2\n", "", 0),
        ("printf 'b 2\\na 10\\n' | sort -k2 -n | cut -d' ' -f1", "b\na\n", "", 0),
        ("printf 'a\\na\\nb\\n' | uniq -c", "      2 a\n      1 b\n", "", 0),
        (
            "echo Hello | tr a-z A-Z; echo aabb | tr -s a; echo abc | tr -d b",
            "HELLO\nabb\nac\n",
            "",
            0,
        ),
        ("echo foo=bar | sed 's/\\(.*\\)=\\(.*\\)/\\2=\\1/; s/b/B/g'", "Bar=foo\n", "", 0),
        (
            "printf 'a\\nb\\nc\\n' | sed -n '2p;$p'; printf 'a\\nb\\n' | sed '/a/d'",
            "b\nc\nb\n",
            "",
            0,
        ),
        ("printf 'x1\\ny\\nx2\\n' | grep -n '^x[0-9]'; echo $?", "1:x1\n3:x2\n0\n", "", 0),
        ("echo abc | grep -q z; echo $?; echo ab12 | grep -oE '[0-9]+'", "1\n12\n", "", 0),
        ("grep x /nope", "", "grep: /nope: No such file or directory\n", 2),
        ("echo 'a b' | xargs -n1 echo -; echo x | xargs -I{} echo {}{}", "- a\n- b\nxx\n", "", 0),
        ("echo hi | tee /f | wc -c; cat /f", "3\nhi\n", "", 0),
        ("echo -n hello | base64; echo aGVsbG8= | base64 -d", "aGVsbG8=\nhello", "", 0),
        ("timeout 0.05 sleep 10; echo $?", "143\n", "", 0),
        ("hostname; hostname -i; whoami; pwd", "web-1\n10.244.1.2\nroot\n/\n", "", 0),
        ("env FOO=bar printenv FOO; printenv NOPE; echo $?", "bar\n1\n", "", 0),
        ("test -d /etc && [ ! -e /x ] && [ a != b -a 1 -lt 2 ]; echo $?", "0\n", "", 0),
        ("[ 1 -lt x ]", "", "sh: x: bad number\n", 2),
        ("which sh nope; basename /a/b.c .c; dirname /a/b", "/bin/sh\nb\n/a\n", "", 0),
        (
            "mkdir /d && echo a > /d/f && cp -r /d /e && mv /e /g && cat /g/f; rm -r /g; ls /g",
            "a\n",
            "ls: /g: No such file or directory\n",
            1,
        ),
        ("mkdir /etc", "", "mkdir: can't create directory '/etc': File exists\n", 1),
        (
            "rm /nope; rm -f /nope; rm /etc",
            "",
            "rm: can't remove '/nope': No such file or directory\nrm: '/etc' is a directory\n",
            1,
        ),
        ("cat /nope", "", "cat: can't open '/nope': No such file or directory\n", 1),
        ("cd /nope", "", "sh: cd: can't cd to /nope: No such file or directory\n", 2),
        (
            "ln -s /etc /l; ls -d /l; readlink /l; cd /l; pwd; ls -a / | grep -c '^l$'",
            "/l\n/etc\n/l\n1\n",
            "",
            0,
        ),
        (
            "chmod +x /nope; printf '#!/bin/sh\\necho script $1\\n' > /s; chmod 755 /s; /s a",
            "script a\n",
            "chmod: /nope: No such file or directory\n",
            0,
        ),
        ("echo 'echo sourced' > /s; . /s", "sourced\n", "", 0),
        ("date -u -d @0 +%Y-%m-%dT%H:%M:%SZ", "1970-01-01T00:00:00Z\n", "", 0),
        ("ps | head -2", "PID   USER     TIME  COMMAND\n    1 root      0:00 sleep inf\n", "", 0),
        ("find /etc -name 'host*' | sort", "/etc/hostname\n/etc/hosts\n", "", 0),
        ("ls -Q", "", "ls: unrecognized option: Q\n", 1),
        ("wc -l < /etc/hostname; wc -c /etc/hostname", "1\n6 /etc/hostname\n", "", 0),
    ])
    .await;
}

#[tokio::test]
async fn network_commands() {
    check_all(&[
        ("curl http://10.244.1.2:81", "", "curl: (7) Failed to connect to 10.244.1.2 port 81 after 0 ms: Could not connect to server\n", 7),
        ("curl -sS http://nope.example", "", "curl: (6) Could not resolve host: nope.example (this cluster has no DNS yet: names resolve from /etc/hosts only)\n", 6),
        ("curl -s http://nope.example", "", "", 6),
        ("curl", "", "curl: (2) no URL specified\ncurl: try 'curl --help' or 'curl --manual' for more information\n", 2),
        ("curl --nope x", "", "curl: option --nope: is unknown\ncurl: try 'curl --help' or 'curl --manual' for more information\n", 2),
        ("curl ftp://x", "", "curl: (1) Protocol \"ftp\" not supported\n", 1),
        ("wget -qO- http://10.244.1.2:81", "", "wget: can't connect to remote host (10.244.1.2): Connection refused\n", 1),
        ("wget -qO- http://nope", "", "wget: bad address 'nope' (this cluster has no DNS yet: names resolve from /etc/hosts only)\n", 1),
        ("nc -z 10.244.1.2 81", "", "", 1),
        ("nc 10.244.1.2 81", "", "nc: can't connect to remote host (10.244.1.2): Connection refused\n", 1),
        ("getent hosts web-1", "10.244.1.2      web-1\n", "", 0),
        ("ping -c 1 10.244.1.2 | tail -2 | head -1", "1 packets transmitted, 1 packets received, 0% packet loss\n", "", 0),
        ("ping -c 1 10.244.1.77", "PING 10.244.1.77 (10.244.1.77): 56 data bytes\n", "ping: sendto: No route to host\n", 1),
        ("ip addr show eth0 | grep inet | head -1 | tr -s ' ' | cut -d' ' -f3", "10.244.1.2/24\n", "", 0),
        ("ip route | head -1", "default via 10.244.1.1 dev eth0 \n", "", 0),
        ("printf x | nc -l -p 9000 & sleep 0.1; echo hi | nc 127.0.0.1 9000", "hi\nx", "", 0),
        ("nc -u -l 9001 > /f & sleep 0.1; echo hi | nc -u -w 1 127.0.0.1 9001; kill $!; cat /f", "hi\n", "", 0),
    ])
    .await;
}

#[tokio::test]
async fn nothing_runs_away() {
    check_all(&[
        ("timeout 0.1 sh -c 'while :; do :; done'; echo $?", "143\n", "", 0),
        ("x=a; while :; do x=$x$x; done", "", "sh: expansion too long\n", 2),
        ("a=$(yes); echo $?", "1\n", "yes: write error: Out of memory\n", 0),
        ("yes > /f; echo $?", "1\n", "yes: write error: No space left on device\n", 0),
        (
            "echo ../../../../etc/hostname; cat ../../../../etc/hostname",
            "../../../../etc/hostname\nweb-1\n",
            "",
            0,
        ),
    ])
    .await;
}

#[tokio::test]
async fn standard_input_is_a_script() {
    let world = World::new();
    let container = world.shell(&world.pod("web-1"), Vec::new());
    let ran = container
        .exec_all(&["sh"], Some("x=1\nif true\nthen echo $x\nfi\nread y\nhello\necho $y"))
        .await;
    assert_eq!(ran, Ran { stdout: "1\nhello\n".to_owned(), stderr: String::new(), code: 0 });
    let ran = container.exec_all(&["cat"], Some("abc")).await;
    assert_eq!(ran.stdout, "abc");
}

#[tokio::test]
async fn archives() {
    check_all(&[
        (
            "mkdir -p a/b; echo x > a/b/c; ln -s b a/l; tar cf - a | tar tf -",
            "a/\na/b/\na/b/c\na/l\n",
            "",
            0,
        ),
        (
            "cd /tmp; mkdir in out; echo x > in/f; chmod 600 in/f; tar -c -f t.tar in; tar xmf t.tar -C out; cat out/in/f; stat -c %a out/in/f",
            "x\n600\n",
            "",
            0,
        ),
        (
            "echo x > /tmp/f; tar cf - /tmp/f | tar -xvf - -C /tmp/../tmp; cat /tmp/tmp/f",
            "tmp/f\nx\n",
            "tar: removing leading '/' from member names\n",
            0,
        ),
        ("echo x > f; tar cf - f g | tar tf -", "f\n", "tar: g: No such file or directory\n", 0),
        ("tar cf - ", "", "tar: empty archive\n", 1),
        ("tar xf - < /dev/null", "", "tar: short read\n", 1),
        ("echo hello | tar xf -", "", "tar: invalid tar magic\n", 1),
        ("tar f -", "", "tar: must specify one of -c, -x, -t\n", 1),
        ("tar czf - f", "", "tar: unrecognized option: z\n", 1),
        (
            "mkdir d; tar xf - -C nothing",
            "",
            "tar: can't change directory to 'nothing': No such file or directory\n",
            1,
        ),
        ("n=$(printf 'x%.0s' $(seq 120)); echo y > $n; tar cf - $n | tar xOf -", "y\n", "", 0),
    ])
    .await;
}
