//! Tables of what is allowed, and random histories of keys and sessions.

use proptest::prelude::*;
use session::{Claims, CurrentUser, SigningKey, Verifier};

use super::*;

const LIFE: Duration = Duration::from_secs(12 * 60 * 60);
const ROTATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_790_000_000).plus(Duration::from_secs(seconds))
}

fn id<T: std::str::FromStr<Err = events::IdError>>(moment: Timestamp, number: u16) -> T {
    let millis = moment.as_millis();
    format!(
        "{:08x}-{:04x}-7000-8000-{number:012x}",
        millis >> 16,
        millis & 0xffff
    )
    .parse()
    .unwrap()
}

#[test]
fn addresses() {
    for (text, email) in [
        ("ann@example.org", "ann@example.org"),
        (
            "  Ann.O'Neill+tickets@Example.ORG ",
            "ann.o'neill+tickets@example.org",
        ),
        ("jürgen@bücher.example", "jürgen@bücher.example"),
        ("a@b.c", "a@b.c"),
    ] {
        assert_eq!(
            Email::parse(text).map(|email| email.as_str().to_owned()),
            Ok(email.into()),
            "{text}"
        );
    }
    let long_local = format!("{}@example.org", "a".repeat(EMAIL_LOCAL_BYTES_MAX + 1));
    let long_label = format!("a@{}.org", "b".repeat(DOMAIN_LABEL_BYTES_MAX + 1));
    let long = format!("{}@{}", "a".repeat(60), ["bcdefgh"; 30].join("."));
    for text in [
        "",
        "ann",
        "@example.org",
        "ann@",
        "ann@example",
        "ann@.org",
        "ann@example.",
        "ann@exam ple.org",
        "an n@example.org",
        "a@b@example.org",
        "ann@-example.org",
        ".ann@example.org",
        "an..n@example.org",
        "ann\n@example.org",
        "ann@example.org\r\nBcc: eve@example.org",
        "<ann@example.org>",
        "ann@exa_mple.org",
        &long_local,
        &long_label,
        &long,
    ] {
        assert_eq!(Email::parse(text), Err(NotAnEmail), "{text}");
    }
    assert_eq!(format!("{:?}", Email::parse("a@b.c").unwrap()), "Email(…)");
}

#[test]
fn chosen_passwords() {
    let email = Email::parse("annabelle@example.org").unwrap();
    let is_common = |lower: &str| lower == "password";
    for (password, verdict) in [
        ("", Err(WeakPassword::TooShort)),
        ("1234567", Err(WeakPassword::TooShort)),
        ("ümläütß", Err(WeakPassword::TooShort)),
        ("        ", Ok(())),
        ("aaaaaaaa", Ok(())),
        ("日本語日本語日本", Ok(())),
        ("PassWord", Err(WeakPassword::Common)),
        ("Annabelle", Err(WeakPassword::LikeEmail)),
        ("annabelle@EXAMPLE.org", Err(WeakPassword::LikeEmail)),
        ("annabelle's own", Ok(())),
    ] {
        assert_eq!(
            check_password(password, Some(&email), is_common),
            verdict,
            "{password}"
        );
    }
    let longest = "ü".repeat(PASSWORD_CHARS_MAX);
    assert_eq!(check_password(&longest, None, is_common), Ok(()));
    assert_eq!(
        check_password(&format!("{longest}x"), None, is_common),
        Err(WeakPassword::TooLong)
    );
}

fn ann() -> User {
    let email = Email::parse("ann@example.org").unwrap();
    register(None, id(at(0), 1), email, PasswordHash("one".into()), at(0))
        .unwrap()
        .0
}

#[test]
fn registering() {
    let ann = ann();
    assert_eq!((ann.version, ann.created_at), (Version::FIRST, at(0)));
    let again = register(
        Some(ann.id),
        id(at(1), 2),
        ann.email,
        PasswordHash("two".into()),
        at(1),
    );
    assert_eq!(again, Err(EmailInUse));
}

#[test]
fn changing_the_password_ends_the_other_sessions() {
    let (changed, revoked) = change_password(&ann(), PasswordHash("two".into()), id(at(5), 7), LIFE, at(9));
    assert_eq!(
        (changed.version, changed.password_hash),
        (Version(2), PasswordHash("two".into()))
    );
    assert_eq!((revoked.session_id, revoked.except), (None, Some(id(at(5), 7))));
    assert_eq!((revoked.before, revoked.until), (at(9), at(9).plus(LIFE)));
}

fn key(name: &str, created_at: Timestamp, superseded_at: Option<Timestamp>) -> KeyLife {
    KeyLife {
        kid: name.into(),
        created_at,
        usable_from: created_at.plus(KEY_LEAD),
        superseded_at,
    }
}

#[test]
fn what_is_next_for_the_keys() {
    let later = |duration: Duration| at(0).plus(duration);
    let gone = LIFE + KEY_SLACK;
    let one = || key("one", at(0), None);
    let two = |created| key("two", created, None);
    let second = Duration::from_secs(1);
    let table = [
        (
            "none yet",
            vec![],
            at(0),
            true,
            Some(KeyStep::Publish { usable_from: at(0) }),
        ),
        ("a young one", vec![one()], later(ROTATION - second), true, None),
        (
            "an old one",
            vec![one()],
            later(ROTATION),
            true,
            Some(KeyStep::Publish {
                usable_from: later(ROTATION + KEY_LEAD),
            }),
        ),
        (
            "a new one, too early",
            vec![one(), two(at(10))],
            later(KEY_LEAD),
            true,
            None,
        ),
        (
            "a new one, in time",
            vec![one(), two(at(10))],
            at(10).plus(KEY_LEAD),
            true,
            Some(KeyStep::Use("two".into())),
        ),
        (
            "a new one that is not out yet",
            vec![one(), two(at(10))],
            later(ROTATION),
            false,
            None,
        ),
        (
            "the old one's tokens are good",
            vec![key("one", at(0), Some(at(100))), two(at(10))],
            at(100).plus(gone - second),
            true,
            None,
        ),
        (
            "the old one's last token has expired",
            vec![key("one", at(0), Some(at(100))), two(at(10))],
            at(100).plus(gone),
            true,
            Some(KeyStep::Retire("one".into())),
        ),
    ];
    for (name, keys, now, published, step) in table {
        assert_eq!(
            next_key_step(&keys, ROTATION, LIFE, now, |_| published),
            step,
            "{name}"
        );
    }
}

#[test]
fn what_an_operators_wish_for_a_key_comes_to() {
    let second = Duration::from_secs(1);
    let superseded = |number: usize| {
        let at = at(number as u64);
        key(&format!("old{number}"), at, Some(at.plus(second)))
    };
    let many = |count: usize| -> Vec<KeyLife> {
        let current = key("current", at(1_000), None);
        (1..count).map(superseded).chain([current]).collect()
    };
    let begin = Rotation::Begin {
        usable_from: at(2_000).plus(KEY_LEAD),
    };
    let waiting = key("two", at(1_990), None);
    let first_free = at(2).plus(LIFE).plus(KEY_SLACK);
    for (name, keys, answer) in [
        ("none yet", vec![], Err(NoRotation::NoneYet)),
        ("one", many(1), Ok(begin.clone())),
        (
            "one waits already",
            vec![key("one", at(0), None), waiting.clone()],
            Ok(Rotation::Underway(waiting)),
        ),
        ("almost too many", many(KEYS_KEPT_MAX - 1), Ok(begin)),
        (
            "too many",
            many(KEYS_KEPT_MAX),
            Err(NoRotation::TooMany(first_free)),
        ),
    ] {
        assert_eq!(rotate_now(&keys, LIFE, at(2_000)), answer, "{name}");
    }
}

proptest! {
    /// Whatever the bus does, whatever operators wish, and however time passes, there is always a key to sign with, each key was out long
    /// enough before its first use, and no key goes while a token of it may be good.
    #[test]
    fn keys_rotate_without_a_gap(steps in prop::collection::vec((0_u64..400_000, any::<bool>(), any::<bool>()), 1..300)) {
        let rotation = Duration::from_secs(3 * 24 * 60 * 60);
        let mut keys: Vec<KeyLife> = Vec::new();
        let mut last_signed: Vec<(String, Timestamp)> = Vec::new();
        let mut now = at(0);
        for (seconds, bus_is_up, is_wished) in steps {
            now = now.plus(Duration::from_secs(seconds));
            if is_wished && let Ok(Rotation::Begin { usable_from }) = rotate_now(&keys, LIFE, now) {
                let kid = format!("wished {}", now.as_millis());
                keys.push(KeyLife { kid, created_at: now, usable_from, superseded_at: None });
            }
            while let Some(step) = next_key_step(&keys, rotation, LIFE, now, |_| bus_is_up) {
                match step {
                    KeyStep::Publish { usable_from } => {
                        let kid = keys.len().to_string() + &now.as_millis().to_string();
                        keys.push(KeyLife { kid, created_at: now, usable_from, superseded_at: None });
                    }
                    KeyStep::Use(kid) => {
                        let key = keys.iter().find(|key| key.kid == kid).unwrap();
                        prop_assert!(bus_is_up && now.since(key.created_at) >= Duration::from_secs(10));
                        for key in keys.iter_mut().filter(|key| key.kid != kid && key.superseded_at.is_none()) {
                            key.superseded_at = Some(now);
                        }
                    }
                    KeyStep::Retire(kid) => {
                        let signed = last_signed.iter().rev().find(|(by, _)| *by == kid);
                        prop_assert!(signed.is_none_or(|(_, signed)| now >= signed.plus(LIFE)));
                        keys.retain(|key| key.kid != kid);
                    }
                }
                prop_assert!(keys.len() <= 16, "{keys:?}");
            }
            let signing = signing_key(&keys);
            prop_assert!(signing.is_some());
            last_signed.extend(signing.map(|key| (key.kid.clone(), now)));
        }
    }

    /// A verifier that hears of every revocation refuses exactly the sessions that have ended.
    #[test]
    fn exactly_the_ended_sessions_are_refused(
        steps in prop::collection::vec((1_u64..50, 0_u8..4, any::<prop::sample::Index>()), 1..80)
    ) {
        let key = SigningKey::from_seed(&[3; 32]);
        let verifier = Verifier::new();
        verifier.publish_key(key.kid(), key.public_key()).unwrap();
        let ann = ann();
        let mut sessions: Vec<(CurrentUser, String, bool)> = Vec::new();
        let mut now = at(1);
        for (number, (seconds, what, which)) in (1_u16..).zip(steps) {
            now = now.plus(Duration::from_secs(seconds));
            if what == 0 || sessions.is_empty() {
                let claims = Claims::new(ann.id, ann.email.as_str(), id(now, number), now);
                let token = key.sign(&claims);
                sessions.push((claims.into(), token, true));
                continue;
            }
            let chosen = which.index(sessions.len());
            let (who, _, alive) = sessions[chosen].clone();
            if !alive {
                continue;
            }
            let revoked = match what {
                1 => sign_out(ann.id, SignOut::Session(who.session, who.expires_at), LIFE, now),
                2 => sign_out(ann.id, SignOut::Everywhere, LIFE, now),
                _ => change_password(&ann, PasswordHash(String::new()), who.session, LIFE, now).1,
            };
            verifier.revoke(&revoked);
            for (index, session) in sessions.iter_mut().enumerate() {
                session.2 &= match what {
                    1 => index != chosen,
                    2 => false,
                    _ => index == chosen,
                };
            }
            for (_, token, alive) in &sessions {
                prop_assert_eq!(verifier.verify(token, now).is_ok(), *alive);
            }
        }
    }
}
