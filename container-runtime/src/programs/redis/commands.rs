//! The commands of redis that this server knows, in one table.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use component_base::clock::Clock;
use parking_lot::Mutex;

use super::VERSION;
use super::protocol::Reply;
use crate::shell;

/// Bytes that the database may hold, as `maxmemory`.
const MEMORY_LIMIT: usize = 256 * 1024 * 1024;

type Key = Vec<u8>;
type Hash = BTreeMap<Vec<u8>, Vec<u8>>;

/// A value.
enum Value {
    Text(Vec<u8>),
    List(VecDeque<Vec<u8>>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::List(list) => list.is_empty(),
            Self::Hash(hash) => hash.is_empty(),
            Self::Set(set) => set.is_empty(),
        }
    }
}

struct Entry {
    value: Value,
    /// Monotonic time at which it is gone.
    expires: Option<Duration>,
}

/// All keys.
pub(super) struct Database {
    entries: BTreeMap<Key, Entry>,
    clock: Clock,
    started: Duration,
    password: Option<String>,
    written: usize,
    commands: u64,
}

/// What a connection knows of itself.
#[derive(Default)]
pub(super) struct Session {
    authenticated: bool,
    pub(super) quit: bool,
}

type Words<'a> = &'a [Vec<u8>];
type Command = fn(&mut Database, Words<'_>) -> Result<Reply, Reply>;

/// Name, fewest and most arguments (the name not counted), function.
const COMMANDS: &[(&str, usize, usize, Command)] = &[
    ("APPEND", 2, 2, append),
    ("CLIENT", 1, MANY, |_, _| Ok(OK)),
    ("COMMAND", 0, MANY, |_, _| Ok(Reply::Array(Vec::new()))),
    ("CONFIG", 1, MANY, config),
    ("DBSIZE", 0, 0, |db, _| Ok(length(db.entries.len()))),
    ("DECR", 1, 1, |db, words| db.add(&words[1], -1)),
    ("DECRBY", 2, 2, |db, words| {
        let by = integer(&words[2])?;
        db.add(&words[1], by.checked_neg().ok_or_else(overflow)?)
    }),
    ("DEL", 1, MANY, del),
    ("ECHO", 1, 1, |_, words| Ok(Reply::Bulk(words[1].clone()))),
    ("EXISTS", 1, MANY, |db, words| {
        Ok(length(words[1..].iter().filter(|key| db.entries.contains_key(*key)).count()))
    }),
    ("EXPIRE", 2, 2, |db, words| db.expire(&words[1], integer(&words[2])?.saturating_mul(1000))),
    ("FLUSHALL", 0, 1, flush),
    ("FLUSHDB", 0, 1, flush),
    ("GET", 1, 1, get),
    ("GETDEL", 1, 1, |db, words| {
        let value = get(db, words)?;
        db.entries.remove(&words[1]);
        Ok(value)
    }),
    ("HDEL", 2, MANY, |db, words| {
        let Some(hash) = db.hash(&words[1])? else { return Ok(Reply::Integer(0)) };
        let count = words[2..].iter().filter(|field| hash.remove(*field).is_some()).count();
        db.drop_empty(&words[1]);
        Ok(length(count))
    }),
    ("HGET", 2, 2, |db, words| Ok(bulk(db.hash(&words[1])?.and_then(|hash| hash.get(&words[2]))))),
    ("HGETALL", 1, 1, |db, words| {
        let pairs = db.hash(&words[1])?.into_iter().flatten();
        Ok(Reply::Array(
            pairs.flat_map(|(field, value)| [array_item(field), array_item(value)]).collect(),
        ))
    }),
    ("HSET", 3, MANY, hset),
    ("INCR", 1, 1, |db, words| db.add(&words[1], 1)),
    ("INCRBY", 2, 2, |db, words| db.add(&words[1], integer(&words[2])?)),
    ("INFO", 0, MANY, |db, _| Ok(Reply::Bulk(db.info().into_bytes()))),
    ("KEYS", 1, 1, keys),
    ("LLEN", 1, 1, |db, words| Ok(length(db.list(&words[1])?.map_or(0, |list| list.len())))),
    ("LPOP", 1, 1, |db, words| pop(db, &words[1], VecDeque::pop_front)),
    ("LPUSH", 2, MANY, |db, words| push(db, words, VecDeque::push_front)),
    ("LRANGE", 3, 3, lrange),
    ("MGET", 1, MANY, |db, words| {
        let one = |key: &Key| match db.entries.get(key).map(|entry| &entry.value) {
            Some(Value::Text(text)) => Reply::Bulk(text.clone()),
            _ => Reply::Nil,
        };
        Ok(Reply::Array(words[1..].iter().map(one).collect()))
    }),
    ("MSET", 2, MANY, |db, words| {
        if words.len().is_multiple_of(2) {
            return Err(wrong_number("mset"));
        }
        for pair in words[1..].chunks(2) {
            db.put(&pair[0], Value::Text(pair[1].clone()), None);
        }
        Ok(OK)
    }),
    ("PERSIST", 1, 1, |db, words| {
        let entry = db.entries.get_mut(&words[1]);
        Ok(Reply::Integer(entry.and_then(|entry| entry.expires.take()).map_or(0, |_| 1)))
    }),
    ("PEXPIRE", 2, 2, |db, words| db.expire(&words[1], integer(&words[2])?)),
    ("PING", 0, 1, |_, words| {
        Ok(words.get(1).map_or(Reply::Simple("PONG"), |text| Reply::Bulk(text.clone())))
    }),
    ("PTTL", 1, 1, |db, words| Ok(Reply::Integer(db.left(&words[1])))),
    ("RPOP", 1, 1, |db, words| pop(db, &words[1], VecDeque::pop_back)),
    ("RPUSH", 2, MANY, |db, words| push(db, words, VecDeque::push_back)),
    ("SADD", 2, MANY, |db, words| {
        let new = || Value::Set(BTreeSet::new());
        let Value::Set(set) = db.value_or(&words[1], new) else { return Err(wrong_type()) };
        Ok(length(words[2..].iter().filter(|member| set.insert((*member).clone())).count()))
    }),
    ("SCARD", 1, 1, |db, words| Ok(length(db.set(&words[1])?.map_or(0, |set| set.len())))),
    ("SELECT", 1, 1, |_, words| match words[1].as_slice() {
        b"0" => Ok(OK),
        _ => Err(Reply::Error("ERR DB index is out of range".to_owned())),
    }),
    ("SET", 2, MANY, set),
    ("SETEX", 3, 3, |db, words| {
        let seconds = integer(&words[2])?;
        let expires = db.after(seconds.saturating_mul(1000), "setex")?;
        db.put(&words[1], Value::Text(words[3].clone()), Some(expires));
        Ok(OK)
    }),
    ("SETNX", 2, 2, |db, words| {
        if db.entries.contains_key(&words[1]) {
            return Ok(Reply::Integer(0));
        }
        db.put(&words[1], Value::Text(words[2].clone()), None);
        Ok(Reply::Integer(1))
    }),
    ("SISMEMBER", 2, 2, |db, words| {
        let found = db.set(&words[1])?.is_some_and(|set| set.contains(&words[2]));
        Ok(Reply::Integer(i64::from(found)))
    }),
    ("SMEMBERS", 1, 1, |db, words| {
        let members =
            db.set(&words[1])?.map(|set| set.iter().map(|item| array_item(item)).collect());
        Ok(Reply::Array(members.unwrap_or_default()))
    }),
    ("SREM", 2, MANY, |db, words| {
        let Some(set) = db.set(&words[1])? else { return Ok(Reply::Integer(0)) };
        let count = words[2..].iter().filter(|member| set.remove(*member)).count();
        db.drop_empty(&words[1]);
        Ok(length(count))
    }),
    ("STRLEN", 1, 1, |db, words| Ok(length(db.text(&words[1])?.map_or(0, |text| text.len())))),
    ("TTL", 1, 1, |db, words| {
        let left = db.left(&words[1]);
        Ok(Reply::Integer(if left > 0 { (left + 500) / 1000 } else { left }))
    }),
    ("TYPE", 1, 1, |db, words| {
        Ok(Reply::Simple(db.entries.get(&words[1]).map_or("none", |entry| entry.value.kind())))
    }),
    ("UNLINK", 1, MANY, del),
];

const MANY: usize = usize::MAX;
const OK: Reply = Reply::Simple("OK");

/// Runs one command.
pub(super) fn execute(
    database: &Mutex<Database>,
    session: &mut Session,
    words: Words<'_>,
) -> Reply {
    let name = String::from_utf8_lossy(&words[0]).to_ascii_uppercase();
    let mut database = database.lock();
    match name.as_str() {
        "QUIT" => {
            session.quit = true;
            return OK;
        }
        "AUTH" => {
            let given = words.last().map(|word| String::from_utf8_lossy(word).into_owned());
            return match &database.password {
                None => Reply::Error(
                    "ERR AUTH <password> called without any password configured for the default user. \
                     Are you sure your configuration is correct?"
                        .to_owned(),
                ),
                password if *password == given => {
                    session.authenticated = true;
                    OK
                }
                _ => Reply::Error("WRONGPASS invalid username-password pair or user is disabled.".to_owned()),
            };
        }
        _ if database.password.is_some() && !session.authenticated => {
            return Reply::Error("NOAUTH Authentication required.".to_owned());
        }
        _ => {}
    }
    let Ok(index) = COMMANDS.binary_search_by(|(known, ..)| (*known).cmp(&name)) else {
        let given = String::from_utf8_lossy(&words[0]);
        let args: String =
            words[1..].iter().map(|word| format!("'{}' ", String::from_utf8_lossy(word))).collect();
        return Reply::Error(format!(
            "ERR unknown command '{given}', with args beginning with: {args}"
        ));
    };
    let (_, fewest, most, run) = COMMANDS[index];
    if !(fewest..=most).contains(&(words.len() - 1)) {
        return wrong_number(&name.to_ascii_lowercase());
    }
    database.forget_expired();
    database.commands += 1;
    database.written += words.iter().map(Vec::len).sum::<usize>();
    if database.written > MEMORY_LIMIT {
        database.written = database.size();
        if database.written > MEMORY_LIMIT {
            return Reply::Error(
                "OOM command not allowed when used memory > 'maxmemory'.".to_owned(),
            );
        }
    }
    run(&mut database, words).unwrap_or_else(|error| error)
}

impl Database {
    pub(super) fn new(clock: Clock, password: Option<String>) -> Self {
        let started = clock.monotonic();
        Self { entries: BTreeMap::new(), clock, started, password, written: 0, commands: 0 }
    }

    fn forget_expired(&mut self) {
        let now = self.clock.monotonic();
        self.entries.retain(|_, entry| entry.expires.is_none_or(|expires| expires > now));
    }

    fn size(&self) -> usize {
        let of = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::List(list) => list.iter().map(Vec::len).sum(),
            Value::Hash(hash) => hash.iter().map(|(field, value)| field.len() + value.len()).sum(),
            Value::Set(set) => set.iter().map(Vec::len).sum(),
        };
        self.entries.iter().map(|(key, entry)| key.len() + of(&entry.value)).sum()
    }

    fn put(&mut self, key: &Key, value: Value, expires: Option<Duration>) {
        self.entries.insert(key.clone(), Entry { value, expires });
    }

    fn value_or(&mut self, key: &Key, new: impl FnOnce() -> Value) -> &mut Value {
        let entry = self.entries.entry(key.clone());
        &mut entry.or_insert_with(|| Entry { value: new(), expires: None }).value
    }

    fn text(&mut self, key: &Key) -> Result<Option<&mut Vec<u8>>, Reply> {
        match self.entries.get_mut(key).map(|entry| &mut entry.value) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type()),
        }
    }

    fn list(&mut self, key: &Key) -> Result<Option<&mut VecDeque<Vec<u8>>>, Reply> {
        match self.entries.get_mut(key).map(|entry| &mut entry.value) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(_) => Err(wrong_type()),
        }
    }

    fn hash(&mut self, key: &Key) -> Result<Option<&mut Hash>, Reply> {
        match self.entries.get_mut(key).map(|entry| &mut entry.value) {
            None => Ok(None),
            Some(Value::Hash(hash)) => Ok(Some(hash)),
            Some(_) => Err(wrong_type()),
        }
    }

    fn set(&mut self, key: &Key) -> Result<Option<&mut BTreeSet<Vec<u8>>>, Reply> {
        match self.entries.get_mut(key).map(|entry| &mut entry.value) {
            None => Ok(None),
            Some(Value::Set(set)) => Ok(Some(set)),
            Some(_) => Err(wrong_type()),
        }
    }

    fn drop_empty(&mut self, key: &Key) {
        if self.entries.get(key).is_some_and(|entry| entry.value.is_empty()) {
            self.entries.remove(key);
        }
    }

    fn add(&mut self, key: &Key, by: i64) -> Result<Reply, Reply> {
        let old = match self.text(key)? {
            Some(text) => integer(text)?,
            None => 0,
        };
        let new = old.checked_add(by).ok_or_else(overflow)?;
        let text = new.to_string().into_bytes();
        match self.text(key)? {
            Some(existing) => *existing = text,
            None => self.put(key, Value::Text(text), None),
        }
        Ok(Reply::Integer(new))
    }

    fn after(&self, milliseconds: i64, command: &str) -> Result<Duration, Reply> {
        let wait = u64::try_from(milliseconds).ok().filter(|wait| *wait > 0);
        let wait = wait.ok_or_else(|| {
            Reply::Error(format!("ERR invalid expire time in '{command}' command"))
        })?;
        Ok(self.clock.monotonic().saturating_add(Duration::from_millis(wait)))
    }

    fn expire(&mut self, key: &Key, milliseconds: i64) -> Result<Reply, Reply> {
        if !self.entries.contains_key(key) {
            return Ok(Reply::Integer(0));
        }
        match self.after(milliseconds, "expire") {
            Ok(expires) => {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.expires = Some(expires);
                }
            }
            // A time that is over deletes.
            Err(_) => {
                self.entries.remove(key);
            }
        }
        Ok(Reply::Integer(1))
    }

    /// Milliseconds left; -1 without expiry, -2 without the key.
    fn left(&self, key: &Key) -> i64 {
        match self.entries.get(key).map(|entry| entry.expires) {
            None => -2,
            Some(None) => -1,
            Some(Some(expires)) => {
                let left = expires.saturating_sub(self.clock.monotonic());
                i64::try_from(left.as_millis()).unwrap_or(i64::MAX)
            }
        }
    }

    fn info(&self) -> String {
        let uptime = self.clock.monotonic().saturating_sub(self.started).as_secs();
        let keys = self.entries.len();
        let expires = self.entries.values().filter(|entry| entry.expires.is_some()).count();
        let keyspace = match keys {
            0 => String::new(),
            keys => format!("db0:keys={keys},expires={expires},avg_ttl=0\r\n"),
        };
        format!(
            "# Server\r\nredis_version:{VERSION}\r\nredis_mode:standalone\r\nos:Linux x86_64\r\n\
             process_id:1\r\ntcp_port:6379\r\nuptime_in_seconds:{uptime}\r\n\r\n\
             # Memory\r\nused_memory:{}\r\n\r\n\
             # Stats\r\ntotal_commands_processed:{}\r\n\r\n\
             # Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n# Keyspace\r\n{keyspace}",
            self.size(),
            self.commands,
        )
    }
}

fn length(count: usize) -> Reply {
    Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

fn bulk(value: Option<&Vec<u8>>) -> Reply {
    value.map_or(Reply::Nil, |value| Reply::Bulk(value.clone()))
}

fn array_item(value: &[u8]) -> Reply {
    Reply::Bulk(value.to_vec())
}

fn integer(text: &[u8]) -> Result<i64, Reply> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Reply::Error("ERR value is not an integer or out of range".to_owned()))
}

fn overflow() -> Reply {
    Reply::Error("ERR increment or decrement would overflow".to_owned())
}

fn wrong_type() -> Reply {
    Reply::Error("WRONGTYPE Operation against a key holding the wrong kind of value".to_owned())
}

fn wrong_number(command: &str) -> Reply {
    Reply::Error(format!("ERR wrong number of arguments for '{command}' command"))
}

fn append(db: &mut Database, words: Words<'_>) -> Result<Reply, Reply> {
    let Value::Text(text) = db.value_or(&words[1], || Value::Text(Vec::new())) else {
        return Err(wrong_type());
    };
    text.extend_from_slice(&words[2]);
    Ok(length(text.len()))
}

fn config(_: &mut Database, words: Words<'_>) -> Result<Reply, Reply> {
    let settings = [("maxmemory", "0"), ("save", ""), ("appendonly", "no"), ("databases", "1")];
    match words[1].to_ascii_uppercase().as_slice() {
        b"GET" => {
            let wanted = words.get(2).map(|word| String::from_utf8_lossy(word).to_lowercase());
            let wanted = wanted.unwrap_or_default();
            let found = settings.iter().filter(|(name, _)| shell::matches(&wanted, name));
            let items = found.flat_map(|(name, value)| [name, value]);
            Ok(Reply::Array(items.map(|text| Reply::Bulk(text.as_bytes().to_vec())).collect()))
        }
        b"RESETSTAT" => Ok(OK),
        _ => Err(Reply::Error("ERR CONFIG SET is not supported here".to_owned())),
    }
}

fn del(db: &mut Database, words: Words<'_>) -> Result<Reply, Reply> {
    Ok(length(words[1..].iter().filter(|key| db.entries.remove(*key).is_some()).count()))
}

fn flush(db: &mut Database, _: Words<'_>) -> Result<Reply, Reply> {
    db.entries.clear();
    Ok(OK)
}

fn get(db: &mut Database, words: Words<'_>) -> Result<Reply, Reply> {
    Ok(bulk(db.text(&words[1])?.map(|text| &*text)))
}

fn hset(db: &mut Database, words: Words<'_>) -> Result<Reply, Reply> {
    if !words.len().is_multiple_of(2) {
        return Err(wrong_number("hset"));
    }
    let Value::Hash(hash) = db.value_or(&words[1], || Value::Hash(BTreeMap::new())) else {
        return Err(wrong_type());
    };
    let pairs = words[2..].chunks(2);
    let new = pairs.filter(|pair| hash.insert(pair[0].clone(), pair[1].clone()).is_none());
    Ok(length(new.count()))
}

fn keys(db: &mut Database, words: Words<'_>) -> Result<Reply, Reply> {
    let pattern = String::from_utf8_lossy(&words[1]).into_owned();
    let fits = |key: &&Key| shell::matches(&pattern, &String::from_utf8_lossy(key));
    Ok(Reply::Array(db.entries.keys().filter(fits).map(|item| array_item(item)).collect()))
}

fn push(
    db: &mut Database,
    words: Words<'_>,
    add: fn(&mut VecDeque<Vec<u8>>, Vec<u8>),
) -> Result<Reply, Reply> {
    let Value::List(list) = db.value_or(&words[1], || Value::List(VecDeque::new())) else {
        return Err(wrong_type());
    };
    words[2..].iter().for_each(|word| add(list, word.clone()));
    Ok(length(list.len()))
}

fn pop(
    db: &mut Database,
    key: &Key,
    take: fn(&mut VecDeque<Vec<u8>>) -> Option<Vec<u8>>,
) -> Result<Reply, Reply> {
    let value = db.list(key)?.and_then(take);
    db.drop_empty(key);
    Ok(value.map_or(Reply::Nil, Reply::Bulk))
}

fn lrange(db: &mut Database, words: Words<'_>) -> Result<Reply, Reply> {
    let (first, last) = (integer(&words[2])?, integer(&words[3])?);
    let Some(list) = db.list(&words[1])? else { return Ok(Reply::Array(Vec::new())) };
    let size = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let at = |index: i64| if index < 0 { (size.saturating_add(index)).max(0) } else { index };
    let (first, last) = (at(first), if last < 0 { size.saturating_add(last) } else { last });
    let skip = usize::try_from(first).unwrap_or(0);
    let take = usize::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or(0);
    Ok(Reply::Array(list.iter().skip(skip).take(take).map(|item| array_item(item)).collect()))
}

fn set(db: &mut Database, words: Words<'_>) -> Result<Reply, Reply> {
    let (mut expires, mut must_exist, mut want_old) = (None, None, false);
    let mut options = words[3..].iter();
    let syntax = || Reply::Error("ERR syntax error".to_owned());
    while let Some(option) = options.next() {
        match option.to_ascii_uppercase().as_slice() {
            b"EX" => {
                let seconds = integer(options.next().ok_or_else(syntax)?)?;
                expires = Some(db.after(seconds.saturating_mul(1000), "set")?);
            }
            b"PX" => expires = Some(db.after(integer(options.next().ok_or_else(syntax)?)?, "set")?),
            b"NX" => must_exist = Some(false),
            b"XX" => must_exist = Some(true),
            b"KEEPTTL" => expires = db.entries.get(&words[1]).and_then(|entry| entry.expires),
            b"GET" => want_old = true,
            _ => return Err(syntax()),
        }
    }
    let old = if want_old { get(db, words)? } else { Reply::Nil };
    if must_exist.is_some_and(|must| must != db.entries.contains_key(&words[1])) {
        return Ok(old);
    }
    db.put(&words[1], Value::Text(words[2].clone()), expires);
    Ok(if want_old { old } else { OK })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_answer() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.0 < b.0));
        let database = Mutex::new(Database::new(Clock::real(), None));
        let mut session = Session::default();
        let mut check = |line: &str, expected: &str| {
            let words: Vec<Vec<u8>> =
                line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
            let printed = execute(&database, &mut session, &words).print(false);
            assert_eq!(printed.trim_end(), expected, "{line}");
        };
        check("PING", "PONG");
        check("GET a", "");
        check("SET a 1", "OK");
        check("INCR a", "2");
        check("set a x NX", "");
        check("GET a", "2");
        check("TTL a", "-1");
        check("EXPIRE a 100", "1");
        check("TTL a", "100");
        check("TTL b", "-2");
        check("RPUSH l 1 2 3", "3");
        check("LPUSH l 0", "4");
        check("LRANGE l 0 -1", "0\n1\n2\n3");
        check("LRANGE l -2 -1", "2\n3");
        check("GET l", "WRONGTYPE Operation against a key holding the wrong kind of value");
        check("HSET h a 1 b 2", "2");
        check("HGETALL h", "a\n1\nb\n2");
        check("KEYS *", "a\nh\nl");
        check("DEL a h", "2");
        check("DBSIZE", "1");
        check("NOPE x", "ERR unknown command 'NOPE', with args beginning with: 'x'");
        check("GET", "ERR wrong number of arguments for 'get' command");
        check("INCRBY n 9223372036854775807", "9223372036854775807");
        check("INCR n", "ERR increment or decrement would overflow");
    }
}
