//! Everything at once: what is kept, and counted, is right after it.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::{Response, Toy, connect, head, wait_until};

const OWNERS: usize = 3;

/// Numbers as from dice, the same each time (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// One of those who ask: it does anything, in any order, and to what others have made, too.
fn ask(toy: &Toy, dice: &mut Dice, made: &mut Vec<String>) -> Option<Response> {
    let owner = format!("owner{}", dice.below(OWNERS as u64));
    let sent = toy.put("PUT", "/v1/keys", &format!("keys {owner}\n"));
    let target = format!("keys={}", sent.word("keys"));
    let any = |dice: &mut Dice| made.get(dice.below(made.len().max(1) as u64) as usize).cloned();
    let response = match dice.below(10) {
        0 => toy.ask("DELETE", &format!("/v1/keys/{}", sent.word("keys"))),
        1 => toy.ask("POST", &format!("/v1/texts?{target}")),
        2 | 3 => toy.ask("DELETE", &any(dice)?),
        4 => toy.ask("GET", &format!("{}/answer", any(dice)?)),
        5 => {
            let mut stream = connect(toy.address);
            stream.write_all(head("PUT", "/v1/keys", "Content-Length: 1000\r\n").as_bytes()).unwrap();
            stream.write_all(b"keys nobody").unwrap();
            return None;
        }
        6 => {
            let text = any(dice).filter(|path| path.starts_with("/v1/texts/"))?;
            let body = format!("request {owner} 3 1 -\n{}", dice.below(20));
            toy.put("POST", &format!("/v1/requests?{target}&text={}", text.rsplit('/').next()?), &body)
        }
        number => {
            let behavior = ["-", "-", "refuse"][number as usize - 7];
            let body = format!("request {owner} 3 1 {behavior}\n{}", dice.below(20));
            toy.put("POST", &format!("/v1/requests?{target}"), &body)
        }
    };
    if matches!(response.status, 201 | 202)
        && response.text().contains("\"text\":")
        && !response.text().contains("request")
    {
        made.push(format!("/v1/texts/{}", response.word("text")));
    } else if response.status == 202 && !response.body.is_empty() {
        made.push(format!("/v1/requests/{}", response.word("request")));
    }
    Some(response)
}

#[test]
fn whatever_is_done_at_once_the_counts_are_right() {
    let toy = Toy::start(&["--parallel", "3", "--key-memory", "2KB"]);
    let begun = Instant::now();
    let work = |number: u64| {
        let (mut dice, mut made, mut answered) = (Dice(0x9e37_79b9_7f4a_7c15 + number), Vec::new(), 0);
        while begun.elapsed() < Duration::from_secs(2) {
            if let Some(response) = ask(&toy, &mut dice, &mut made) {
                assert!(response.status < 500, "{response:?}");
                answered += 1;
            }
        }
        assert!(answered > 10, "{answered}");
        made
    };
    let made: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let is_idle = || toy.figure("queue_length") + toy.figure("running") == 0.0;
    wait_until(is_idle, "something is still computed");
    // Another server counts the same, from what is on the disk.
    let figures = |toy: &Toy| ["disk_bytes", "keys", "texts"].map(|name| toy.figure(name));
    wait_until(|| toy.figure("connections") == 1.0, "somebody is still connected");
    assert!(toy.files("keys").iter().all(|name| !name.ends_with(".tmp")), "something half is left");
    let counted = figures(&toy);
    let toy = toy.restart(&[]);
    assert_eq!(figures(&toy), counted);
    // And when all is deleted, nothing is left.
    for path in made.iter().filter(|path| path.starts_with("/v1/requests/")) {
        assert!([204, 404].contains(&toy.ask("DELETE", path).status));
    }
    for keys in toy.files("keys") {
        assert_eq!(toy.ask("DELETE", &format!("/v1/keys/{keys}")).status, 204);
    }
    assert_eq!(figures(&toy), [0.0; 3]);
    assert!(["keys", "texts", "requests", "answers"].iter().all(|part| toy.files(part).is_empty()));
}
