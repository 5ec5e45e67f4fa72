//! Customers, what they bought and what they said.

/// A customer before being in the database.
pub(super) struct Person {
    pub(super) username: &'static str,
    pub(super) password: &'static str,
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    pub(super) street: &'static str,
    pub(super) postcode: &'static str,
    pub(super) city: &'static str,
    pub(super) country: &'static str,
    /// The secret of the sign-in link in this customer's mail.
    pub(super) signin: &'static str,
    /// The saved cart: product, variant, quantity.
    pub(super) cart: &'static [(&'static str, &'static str, i64)],
}

/// Customers in the order of ids (from 1).
pub(super) const PEOPLE: &[Person] = &[
    Person {
        username: "ada",
        password: "lovelace",
        name: "Ada Fjeld",
        email: "ada@example.org",
        street: "Quay Street 12",
        postcode: "4021",
        city: "Stavanger",
        country: "Norway",
        signin: "ada-7Qm2xT",
        cart: &[],
    },
    Person {
        username: "grace",
        password: "hopper",
        name: "Grace Holm",
        email: "grace@example.org",
        street: "Mill Lane 3",
        postcode: "8000",
        city: "Aarhus",
        country: "Denmark",
        signin: "grace-d81KwP",
        cart: &[("terracotta-pot", "30 cm", 1)],
    },
    Person {
        username: "alan",
        password: "enigma",
        name: "Alan Marsh",
        email: "alan@example.org",
        street: "Orchard Road 41",
        postcode: "9713",
        city: "Groningen",
        country: "Netherlands",
        signin: "alan-Zr5cV9",
        cart: &[
            ("fountain-pen", "Medium", 1),
            ("dot-grid-notebook", "Forest", 2),
        ],
    },
];

/// Usernames and passwords, as the sign-in page of this demonstration tells them.
pub(in crate::demo) const HINTS: &str = "ada with lovelace, grace with hopper, alan with enigma";

/// How passwords are kept.
pub(in crate::demo) fn hash_password(username: &str, password: &str) -> String {
    let key = blake3::derive_key("branchline demo shop password", username.as_bytes());
    blake3::keyed_hash(&key, password.as_bytes())
        .to_hex()
        .to_string()
}

/// A past order: customer, day, status, shipping, coupon, lines.
pub(super) struct Past {
    pub(super) id: i64,
    pub(super) username: &'static str,
    pub(super) day: &'static str,
    pub(super) status: &'static str,
    pub(super) shipping: &'static str,
    pub(super) coupon: &'static str,
    pub(super) lines: &'static [(&'static str, &'static str, i64)],
}

/// Orders before the shop's today, oldest first.
pub(super) const PAST: &[Past] = &[
    Past {
        id: 1001,
        username: "ada",
        day: "2030-11-08",
        status: "Delivered",
        shipping: "parcel",
        coupon: "",
        lines: &[("opal-glass-pendant", "30 cm", 1), ("tea-tin", "", 2)],
    },
    Past {
        id: 1002,
        username: "grace",
        day: "2030-12-19",
        status: "Delivered",
        shipping: "express",
        coupon: "",
        lines: &[("highland-wool-throw", "Oat", 1)],
    },
    Past {
        id: 1003,
        username: "ada",
        day: "2031-01-22",
        status: "Delivered",
        shipping: "parcel",
        coupon: "HARBOUR10",
        lines: &[
            ("hand-coffee-grinder", "", 1),
            ("harbour-mug", "Sea", 4),
            ("pour-over-dripper", "", 1),
        ],
    },
    Past {
        id: 1004,
        username: "ada",
        day: "2031-03-02",
        status: "On its way",
        shipping: "letter",
        coupon: "",
        lines: &[("luggage-tag", "", 2)],
    },
    Past {
        id: 1005,
        username: "grace",
        day: "2031-03-09",
        status: "Being packed",
        shipping: "freight",
        coupon: "",
        lines: &[("oak-garden-bench", "", 1)],
    },
];

/// Ways to send: code, name, promise, cents, heaviest cart in grams, oversize, takes coupons.
pub(super) const SHIPPING: &[(&str, &str, &str, i64, i64, bool, bool)] = &[
    (
        "letter",
        "Letter mail",
        "4 to 6 days",
        290,
        1_000,
        false,
        true,
    ),
    (
        "parcel",
        "Standard parcel",
        "2 to 3 days",
        590,
        20_000,
        false,
        true,
    ),
    (
        "express",
        "Express courier",
        "tomorrow",
        1290,
        20_000,
        false,
        false,
    ),
    (
        "freight",
        "Freight",
        "5 to 8 days",
        2900,
        100_000,
        true,
        true,
    ),
];

/// Voucher codes: code, percent, last day.
pub(super) const COUPONS: &[(&str, i64, &str)] = &[
    ("HARBOUR10", 10, "2031-12-31"),
    ("WINTER15", 15, "2031-02-28"),
];

/// Deals: slug, product, percent, over.
pub(super) const DEALS: &[(&str, &str, i64, bool)] = &[
    ("brass-desk-lamp", "brass-desk-lamp", 40, true),
    ("cork-bath-mat", "cork-bath-mat", 0, false),
    ("glass-teapot", "glass-teapot", 0, false),
];

/// Who writes reviews.
pub(super) const AUTHORS: &[&str] = &[
    "Ines", "Tomas", "Yuki", "Marit", "Joost", "Amara", "Leif", "Noor", "Pavel", "Siobhan",
    "Emeka", "Lucia", "Henrik", "Dilan", "Wanda",
];

/// What they write, by stars (1 first): title and text.
pub(super) const OPINIONS: [&[(&str, &str)]; 5] = [
    &[
        (
            "Sent it back",
            "Arrived with a crack and the replacement had one too.",
        ),
        ("Not for me", "Looks nothing like the picture in daylight."),
    ],
    &[
        (
            "Expected more",
            "Does the job, but the finish is rough at the edges.",
        ),
        (
            "Smaller than I thought",
            "My mistake for not reading the measurements.",
        ),
        (
            "Slow delivery",
            "The thing itself is fine. It took three weeks.",
        ),
    ],
    &[
        (
            "Decent",
            "Neither better nor worse than the one it replaced.",
        ),
        (
            "Good with a flaw",
            "I like it, though the colour is darker than shown.",
        ),
        (
            "Fine for the price",
            "You get what you pay for, which is fair.",
        ),
        (
            "It grows on you",
            "Took some weeks to get used to. Now it may stay.",
        ),
    ],
    &[
        (
            "Very good",
            "Well made. One star off for the amount of packaging.",
        ),
        ("Happy with it", "Used every day since it came."),
        ("Solid", "Heavier than it looks, in a good way."),
        ("Nearly perfect", "A second size would make it perfect."),
        ("Would buy again", "Bought one for my sister as well."),
    ],
    &[
        (
            "Exactly right",
            "I have looked for one like this for years.",
        ),
        ("Beautiful", "Guests ask where it is from."),
        ("Made to last", "You can tell that somebody cared."),
        ("A quiet joy", "Small thing, large difference."),
        ("Perfect gift", "It was for a friend. Now I need one too."),
        ("Worth every cent", "Not cheap, and still a bargain."),
    ],
];
