//! What the demo sellers sell. All artists, clubs and venues are made up.

use std::time::Duration;

use events::Timestamp;

/// The demo sellers' accounts.
pub(super) const SELLERS: &[&str] = &[
    "mara@boxoffice.example",
    "jonas@boxoffice.example",
    "ines@boxoffice.example",
];

/// One listing.
pub(super) struct Show {
    /// Index into [`SELLERS`].
    pub(super) seller: usize,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) venue: &'static str,
    /// How many days from now it begins.
    days: u64,
    /// When it begins on that day, by the clock at the venue.
    hour: u64,
    /// Which clock that is.
    zone: &'static str,
    pub(super) price: &'static str,
    pub(super) currency: &'static str,
    pub(super) quantity: u32,
}

impl Show {
    /// When it begins, with the venue's offset.
    pub(super) fn starts_at(&self, now: Timestamp) -> String {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let today = now.as_seconds() - now.as_seconds().rem_euclid(24 * 60 * 60);
        let local = Timestamp::from_seconds(today)
            .plus(DAY * u32::try_from(self.days).unwrap_or(u32::MAX))
            .plus(Duration::from_secs(self.hour * 3600));
        // The zone only says which clock the hour is read on: the local time stays as it is.
        let text = local.to_string();
        format!("{}[{}]", text.trim_end_matches('Z'), self.zone)
    }
}

#[rustfmt::skip]
pub(super) fn shows() -> Vec<Show> {
    let show = |seller, title, venue, days, hour, zone, price, currency, quantity, description| Show {
        seller, title, description, venue, days, hour, zone, price, currency, quantity,
    };
    vec![
        show(0, "The Paper Lanterns: farewell tour", "Harbour Hall, Hamburg", 12, 20, "Europe/Berlin", "64.00", "eur", 4,
            "Two hours, one interval, and the last time that all five of them stand on one stage. Seats 11 to 14 in row 6, side by side."),
        show(0, "Orchestra of the Northern Light: Sibelius 5", "Kuppelsaal, Hannover", 19, 19, "Europe/Berlin", "48.50", "eur", 2,
            "Sibelius' fifth after the interval, a new cello concerto before it. Block B, row 4, a clear view of the conductor."),
        show(0, "Late Night Improv", "Cellar Stage, Berlin", 3, 23, "Europe/Berlin", "15.00", "eur", 30,
            "Six people, no script, your suggestions. Free seating, doors at 22:15, the bar stays open."),
        show(0, "Marathon of short films", "Kino Astor, Köln", 8, 18, "Europe/Berlin", "12.00", "eur", 25,
            "Forty films of three minutes or less, from nineteen countries, in the original with English subtitles."),
        show(0, "Open-air: Velvet Harbour", "Stadtpark, Hamburg", 96, 19, "Europe/Berlin", "59.00", "eur", 12,
            "Standing tickets for the open-air stage. It takes place in any weather short of a thunderstorm."),
        show(0, "A Winter's Tale", "Theater am Markt, Bremen", 27, 20, "Europe/Berlin", "33.00", "eur", 6,
            "Shakespeare in a new translation, three hours with one interval. First balcony, middle."),
        show(0, "Chamber music at noon", "Old Town Library, Leipzig", 5, 12, "Europe/Berlin", "9.50", "eur", 18,
            "String quartets by Haydn and a first performance. Coffee before, no interval, over by one."),
        show(1, "Coastal Derby: Rovers v. Mariners", "Eastfield Park, Bristol", 9, 15, "Europe/London", "42.00", "gbp", 2,
            "Two seats in the East Stand, upper tier, row C. Home supporters only, please."),
        show(1, "Cup final, women's league", "Meadow Road, Sheffield", 33, 17, "Europe/London", "25.00", "gbp", 8,
            "Family block, children welcome. The seats are together in two rows of four."),
        show(1, "Stand-up: Priya Nair, work in progress", "The Back Room, London", 4, 20, "Europe/London", "14.00", "gbp", 20,
            "New material, read from cards, some of it good. Ninety minutes, no latecomers after 20:10."),
        show(1, "The Glass Mountain (ballet)", "Playhouse, Edinburgh", 41, 19, "Europe/London", "71.00", "gbp", 3,
            "The whole company, live orchestra. Dress circle, row B, seats 21 to 23."),
        show(1, "Jazz brunch with the Delia Moss Trio", "Canal House, Manchester", 6, 11, "Europe/London", "22.50", "gbp", 10,
            "Two sets and a proper breakfast, which the price includes. Tables of two or four."),
        show(1, "Darts: the winter masters, evening session", "Pavilion, Brighton", 16, 18, "Europe/London", "29.00", "gbp", 6,
            "Four quarter-finals. Table seats near the oche. Costumes encouraged."),
        show(1, "Poetry slam, regional final", "Guildhall, Norwich", 22, 19, "Europe/London", "8.00", "gbp", 40,
            "Twelve poets, three rounds, the audience judges. Free seating."),
        show(2, "Los Faroles: Night of the Rivers", "Riverside Theatre, Portland", 14, 20, "America/Los_Angeles", "55.00", "usd", 5,
            "The record from start to end, then everything that you hoped for. Orchestra section, row K."),
        show(2, "Under the lights: Otters v. Lumberjacks", "Timber Field, Tacoma", 11, 19, "America/Los_Angeles", "38.00", "usd", 4,
            "Four together on the forty-yard line, lower level. Parking pass for lot C goes with them."),
        show(2, "Planetarium: a year on Mars", "Science Center, Denver", 7, 16, "America/Denver", "18.00", "usd", 24,
            "A fifty-minute film under the dome, and half an hour of questions with someone who drives rovers."),
        show(2, "The Understudies (musical)", "Lakeview Theatre, Chicago", 30, 19, "America/Chicago", "92.00", "usd", 2,
            "Opening week. Mezzanine, front row, on the aisle. Runs two hours and forty minutes."),
        show(2, "Synth night: Halogen, Ada Ferro, Minor Keys", "Warehouse 9, Oakland", 10, 21, "America/Los_Angeles", "27.50", "usd", 35,
            "Three live sets, standing. Earplugs at the door, first act at 21:30."),
        show(2, "Wine and vinyl: side A", "The Listening Room, Austin", 13, 19, "America/Chicago", "45.00", "usd", 9,
            "One record, played whole on very good loudspeakers, with four wines chosen to go with it."),
        show(2, "Rodeo, three-day pass", "County Grounds, Cheyenne", 52, 10, "America/Denver", "120.00", "usd", 3,
            "All three days, shaded grandstand, re-entry allowed. Children under six come in free."),
        show(2, "Symphony for the very young", "Civic Hall, Seattle", 20, 11, "America/Los_Angeles", "16.00", "usd", 14,
            "Forty minutes of music for ears from three to eight. Dancing in the aisles is part of it."),
    ]
}

#[cfg(test)]
mod tests {
    use events::ShowTime;

    use super::*;

    #[test]
    fn every_show_is_in_the_future_by_the_venues_clock() {
        let now = Timestamp::from_seconds(1_800_000_000);
        for show in shows() {
            let starts_at = show.starts_at(now);
            let time: ShowTime = starts_at
                .parse()
                .unwrap_or_else(|error| panic!("{starts_at} {error}"));
            assert!(time.at() > now, "{}", show.title);
            assert_eq!(time.zone(), show.zone);
            assert!(
                starts_at.contains(&format!("T{:02}:00:00", show.hour)),
                "{starts_at}"
            );
            assert!(show.seller < SELLERS.len());
        }
    }
}
