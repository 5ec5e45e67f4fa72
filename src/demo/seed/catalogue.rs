//! What the shop sells.

/// A choice a product offers: its name and its values with their surcharge in cents.
#[derive(Debug, Clone, Copy)]
pub(in crate::demo) struct Axis {
    /// As labelled, for example `Colour`; empty if there is no such choice.
    pub(in crate::demo) name: &'static str,
    /// Values in the order offered.
    pub(in crate::demo) values: &'static [(&'static str, i64)],
}

const NO_AXIS: Axis = Axis {
    name: "",
    values: &[("", 0)],
};

/// A product before it is in the database.
#[derive(Debug, Clone, Copy)]
pub(in crate::demo) struct Item {
    pub(in crate::demo) category: &'static str,
    pub(in crate::demo) slug: &'static str,
    pub(in crate::demo) name: &'static str,
    pub(in crate::demo) art: &'static str,
    pub(in crate::demo) cents: i64,
    pub(in crate::demo) stock: i64,
    pub(in crate::demo) grams: i64,
    pub(in crate::demo) bulky: bool,
    pub(in crate::demo) text: &'static str,
    pub(in crate::demo) axes: [Axis; 2],
    /// Labels of variants that are sold out.
    pub(in crate::demo) sold_out: &'static [&'static str],
}

impl Item {
    fn choice(mut self, name: &'static str, values: &'static [(&'static str, i64)]) -> Self {
        let free = usize::from(!self.axes[0].name.is_empty());
        self.axes[free] = Axis { name, values };
        self
    }

    fn without(mut self, labels: &'static [&'static str]) -> Self {
        self.sold_out = labels;
        self
    }

    fn bulky(mut self) -> Self {
        self.bulky = true;
        self
    }
}

/// A category: slug, name, one line about it, hidden.
pub(super) const CATEGORIES: &[(&str, &str, &str, bool)] = &[
    (
        "lamps",
        "Lamps",
        "For desks, corners and long evenings.",
        false,
    ),
    (
        "lanterns",
        "Lanterns & Candles",
        "Small lights for indoors.",
        false,
    ),
    (
        "kitchen",
        "Kitchen",
        "Tools that outlast their recipes.",
        false,
    ),
    (
        "tea-coffee",
        "Tea & Coffee",
        "Kettles, pots and what goes into the cup.",
        false,
    ),
    (
        "desk",
        "Desk & Office",
        "Paper, wood and world layouts for the working day.",
        false,
    ),
    (
        "keyboards",
        "Keyboards",
        "Mechanical keyboards in US layout, and parts for them.",
        false,
    ),
    (
        "bags",
        "Bags & Travel",
        "For one night or for one summer.",
        false,
    ),
    (
        "garden",
        "Garden",
        "For beds, balconies and bad weather.",
        false,
    ),
    (
        "textiles",
        "Blankets & Textiles",
        "Wool, linen and cotton.",
        false,
    ),
    (
        "made-to-order",
        "Made to order",
        "Built as you configured it.",
        true,
    ),
];

/// The slug of the product behind the configurator.
pub(in crate::demo) const CUSTOM_LAMP: &str = "custom-lamp";

/// A row: slug, name, art, cents, stock, grams, text.
struct Row(
    &'static str,
    &'static str,
    &'static str,
    i64,
    i64,
    i64,
    &'static str,
);

impl Row {
    const fn of(self, category: &'static str) -> Item {
        Item {
            category,
            slug: self.0,
            name: self.1,
            art: self.2,
            cents: self.3,
            stock: self.4,
            grams: self.5,
            bulky: false,
            text: self.6,
            axes: [NO_AXIS; 2],
            sold_out: &[],
        }
    }
}

/// Every product, in the order of ids (from 1).
pub(in crate::demo) fn items() -> Vec<Item> {
    [
        lamps(),
        lanterns(),
        kitchen(),
        tea_coffee(),
        desk(),
        keyboards(),
        bags(),
        garden(),
        textiles(),
        made_to_order(),
    ]
    .concat()
}

fn lamps() -> Vec<Item> {
    let of = |row: Row| row.of("lamps");
    vec![
        of(Row(
            "brass-desk-lamp",
            "Brass desk lamp",
            "desk-lamp",
            7900,
            9,
            1900,
            "Hinged reading light of brushed brass with a heavy foot. Takes an E27 bulb.",
        )),
        of(Row(
            "linen-table-lamp",
            "Linen table lamp",
            "table-lamp",
            6450,
            12,
            1400,
            "A turned ash foot under a shade of washed linen.",
        ))
        .choice("Shade", &[("Natural", 0), ("Sand", 0), ("Slate", 300)]),
        of(Row(
            "arc-floor-lamp",
            "Arc floor lamp",
            "floor-lamp",
            18900,
            4,
            7800,
            "Leans over the sofa so that you do not have to. Stone foot, steel bow.",
        ))
        .choice("Colour", &[("Black", 0), ("White", 0)])
        .bulky(),
        of(Row(
            "tripod-floor-lamp",
            "Tripod floor lamp",
            "floor-lamp",
            14900,
            5,
            5200,
            "Three oak legs and a wide drum shade.",
        ))
        .choice("Colour", &[("Oak", 0), ("Walnut", 1500)])
        .without(&["Walnut"])
        .bulky(),
        of(Row(
            "opal-glass-pendant",
            "Opal glass pendant",
            "pendant",
            9900,
            7,
            2100,
            "Mouth-blown opal glass on a textile cable.",
        ))
        .choice("Size", &[("20 cm", 0), ("30 cm", 2000), ("40 cm", 4500)]),
        of(Row(
            "clip-reading-lamp",
            "Clip-on reading lamp",
            "desk-lamp",
            2950,
            20,
            420,
            "Holds on to a shelf, a headboard or a thick book.",
        ))
        .choice("Colour", &[("Black", 0), ("Red", 0), ("Cream", 0)]),
        of(Row(
            "dune-bedside-lamp",
            "Dune bedside lamp",
            "table-lamp",
            5400,
            11,
            1100,
            "Touch to wake, touch again to dim. Sand-coloured stoneware.",
        )),
        of(Row(
            "ember-rechargeable-lamp",
            "Ember rechargeable lamp",
            "table-lamp",
            4900,
            14,
            650,
            "Twelve hours of warm light without a socket.",
        ))
        .choice("Colour", &[("Moss", 0), ("Clay", 0), ("Night", 0)]),
    ]
}

fn lanterns() -> Vec<Item> {
    let of = |row: Row| row.of("lanterns");
    vec![
        of(Row("paper-garden-lantern", "Paper garden lantern", "paper-lantern", 1450, 30, 140, "Folding paper lantern with a garden print. For indoor use only: it is not weatherproof.")).choice("Print", &[("Fern", 0), ("Poppy", 0)]),
        of(Row("rice-paper-globe", "Rice paper globe", "paper-lantern", 1900, 22, 180, "A soft moon for the ceiling, 45 cm across.")),
        of(Row("brass-hurricane-lantern", "Brass hurricane lantern", "lantern", 5600, 8, 980, "Glass chimney, brass frame, for a table by the window.")),
        of(Row("beeswax-pillar-candle", "Beeswax pillar candle", "candle", 1250, 40, 400, "Burns for sixty hours and smells of June.")).choice("Size", &[("Small", 0), ("Tall", 600)]),
        of(Row("tealight-set", "Tealights, box of 50", "candle", 980, 60, 700, "Rapeseed wax in cups that can be recycled.")),
        of(Row("firefly-string-lights", "Firefly string lights", "lights", 2400, 25, 260, "Forty small lights on eight metres of copper wire.")).choice("Light", &[("Warm white", 0), ("Amber", 0)]),
        of(Row("floating-candle-bowl", "Floating candle bowl", "bowl", 3200, 9, 1300, "A shallow bowl of grey glass with six floating candles.")),
    ]
}

fn kitchen() -> Vec<Item> {
    let of = |row: Row| row.of("kitchen");
    vec![
        of(Row(
            "cast-iron-pan",
            "Cast iron pan",
            "pan",
            5900,
            10,
            2900,
            "Seasoned twice, ready for the first egg.",
        ))
        .choice("Size", &[("24 cm", 0), ("28 cm", 1200)]),
        of(Row(
            "chefs-knife",
            "Chef's knife",
            "knife",
            8400,
            8,
            260,
            "Twenty centimetres of carbon steel with a walnut handle.",
        )),
        of(Row(
            "oak-cutting-board",
            "Oak cutting board",
            "board",
            3900,
            15,
            1800,
            "End grain, oiled, with a hole to hang it by.",
        ))
        .choice("Size", &[("Small", 0), ("Large", 1400)]),
        of(Row(
            "mixing-bowl-set",
            "Mixing bowls, set of three",
            "bowl",
            4600,
            12,
            2200,
            "Stoneware that nests, with a lip that pours.",
        )),
        of(Row(
            "linen-apron",
            "Linen apron",
            "apron",
            3400,
            18,
            300,
            "Crossed straps, two pockets, softer after every wash.",
        ))
        .choice("Colour", &[("Flax", 0), ("Ink", 0), ("Rust", 0)]),
        of(Row(
            "enamel-casserole",
            "Enamel casserole",
            "casserole",
            12900,
            6,
            4800,
            "Four and a half litres, from hob to oven to table.",
        ))
        .choice("Colour", &[("Sea", 0), ("Mustard", 0)]),
        of(Row(
            "beech-rolling-pin",
            "Beech rolling pin",
            "rolling-pin",
            1850,
            24,
            620,
            "Long enough for a whole pizza.",
        )),
        of(Row(
            "salt-cellar",
            "Salt cellar with spoon",
            "tin",
            2200,
            16,
            450,
            "Olive wood with a swivel lid.",
        )),
    ]
}

fn tea_coffee() -> Vec<Item> {
    let of = |row: Row| row.of("tea-coffee");
    vec![
        of(Row(
            "fjord-gooseneck-kettle",
            "Fjord gooseneck kettle",
            "kettle",
            6800,
            9,
            1150,
            "A slow, exact pour. Stainless steel, 0.9 litres, every hob.",
        ))
        .choice("Finish", &[("Steel", 0), ("Matt black", 700)]),
        of(Row(
            "stoneware-teapot",
            "Stoneware teapot",
            "teapot",
            4400,
            10,
            1200,
            "One litre with a strainer in the spout.",
        ))
        .choice("Glaze", &[("Oat", 0), ("Celadon", 0)]),
        of(Row(
            "glass-teapot",
            "Glass teapot",
            "teapot",
            3150,
            14,
            700,
            "Watch the leaves open. Heat-proof glass, 0.8 litres.",
        )),
        of(Row(
            "cast-iron-teapot",
            "Cast iron teapot",
            "teapot",
            7200,
            5,
            2300,
            "Keeps two cups hot for an hour.",
        )),
        of(Row(
            "tea-for-one-set",
            "Tea for one set",
            "teapot",
            3600,
            9,
            900,
            "A small teapot that sits in its own cup.",
        )),
        of(Row(
            "hand-coffee-grinder",
            "Hand coffee grinder",
            "grinder",
            5750,
            11,
            780,
            "Conical steel burrs, forty clicks from espresso to press.",
        )),
        of(Row(
            "pour-over-dripper",
            "Pour-over dripper",
            "dripper",
            2650,
            17,
            520,
            "Porcelain cone with spiral ribs, for one to three cups.",
        )),
        of(Row(
            "trail-travel-mug",
            "Trail travel mug",
            "tumbler",
            2900,
            26,
            330,
            "Closes tight, opens with one thumb, keeps heat for six hours.",
        ))
        .choice("Colour", &[("Moss", 0), ("Navy", 0), ("Chalk", 0)])
        .choice("Size", &[("350 ml", 0), ("500 ml", 500)]),
        of(Row(
            "harbour-mug",
            "Harbour mug",
            "mug",
            1600,
            40,
            380,
            "Hand-thrown stoneware with a thumb rest.",
        ))
        .choice("Glaze", &[("Oat", 0), ("Sea", 0)]),
        of(Row(
            "tea-tin",
            "Tea tin",
            "tin",
            1150,
            33,
            210,
            "Double lid, holds 125 grams of leaves.",
        )),
    ]
}

fn desk() -> Vec<Item> {
    let of = |row: Row| row.of("desk");
    vec![
        of(Row(
            "dot-grid-notebook",
            "Dot grid notebook",
            "notebook",
            1750,
            45,
            340,
            "192 numbered pages that lie flat.",
        ))
        .choice("Cover", &[("Graphite", 0), ("Brick", 0), ("Forest", 0)]),
        of(Row(
            "fountain-pen",
            "Fountain pen",
            "pen",
            3850,
            14,
            40,
            "Steel nib, piston filler, in a tin.",
        ))
        .choice("Nib", &[("Fine", 0), ("Medium", 0), ("Broad", 0)])
        .without(&["Broad"]),
        of(Row(
            "desk-organiser",
            "Desk organiser",
            "organiser",
            3300,
            12,
            850,
            "Five compartments of bent beech.",
        )),
        of(Row(
            "monitor-stand",
            "Monitor stand",
            "stand",
            6900,
            7,
            3100,
            "Raises a screen by eleven centimetres; the keyboard parks below.",
        )),
        of(Row(
            "felt-desk-mat",
            "Felt desk mat",
            "mat",
            3100,
            16,
            420,
            "Wool felt on cork, 80 by 35 centimetres.",
        ))
        .choice("Colour", &[("Grey", 0), ("Moss", 0)]),
        of(Row(
            "petrel-keyboard-german",
            "Petrel wireless keyboard, German layout",
            "keyboard",
            9400,
            6,
            720,
            "Low-profile wireless keyboard in ISO-DE layout with umlauts. Three devices, one switch.",
        )),
        of(Row(
            "petrel-keyboard-nordic",
            "Petrel wireless keyboard, Nordic layout",
            "keyboard",
            9400,
            4,
            720,
            "Low-profile wireless keyboard in ISO layout for Danish, Norwegian and Swedish.",
        )),
        of(Row(
            "quiet-wall-clock",
            "Quiet wall clock",
            "clock",
            4200,
            9,
            760,
            "A sweeping hand and no ticking.",
        ))
        .choice("Colour", &[("Birch", 0), ("Black", 0)]),
    ]
}

fn keyboards() -> Vec<Item> {
    let of = |row: Row| row.of("keyboards");
    vec![
        of(Row(
            "petrel-keyboard",
            "Petrel wireless keyboard",
            "keyboard",
            8900,
            13,
            720,
            "Low-profile wireless keyboard in US layout only. Three devices, one switch.",
        ))
        .choice("Colour", &[("Fog", 0), ("Ink", 0)]),
        of(Row(
            "tern-65-keyboard",
            "Tern 65 mechanical keyboard",
            "keyboard",
            11900,
            8,
            880,
            "Sixty-eight keys, hot-swap sockets, aluminium case.",
        ))
        .choice(
            "Switches",
            &[("Linear", 0), ("Tactile", 0), ("Silent", 900)],
        ),
        of(Row(
            "gannet-full-size-keyboard",
            "Gannet full-size keyboard",
            "keyboard",
            13900,
            5,
            1250,
            "Number pad and all. For people who count.",
        ))
        .choice("Switches", &[("Linear", 0), ("Tactile", 0)]),
        of(Row(
            "puffin-split-keyboard",
            "Puffin split keyboard",
            "split-keyboard",
            17900,
            4,
            960,
            "Two halves at the angle of your shoulders.",
        ))
        .choice("Switches", &[("Tactile", 0), ("Silent", 900)]),
        of(Row(
            "wren-compact-keyboard",
            "Wren compact keyboard",
            "keyboard",
            5900,
            15,
            540,
            "Small, wired and cheerful.",
        ))
        .choice("Colour", &[("Chalk", 0), ("Coral", 0)]),
        of(Row(
            "keycap-set",
            "Keycap set, 104 keys",
            "keycap",
            4900,
            12,
            380,
            "Dye-sublimated PBT in three colourways.",
        ))
        .choice("Colourway", &[("Dune", 0), ("Fjord", 0), ("Ember", 0)]),
        of(Row(
            "switch-sampler",
            "Switch sampler",
            "keycap",
            1900,
            20,
            120,
            "Nine switches on a small plate, to click through before you choose.",
        )),
    ]
}

fn bags() -> Vec<Item> {
    let of = |row: Row| row.of("bags");
    vec![
        of(Row(
            "harbour-weekend-duffel",
            "Harbour weekend duffel",
            "duffel",
            12400,
            6,
            1450,
            "Waxed canvas, forty litres, a pocket for wet things.",
        ))
        .choice("Colour", &[("Olive", 0), ("Navy", 0)]),
        of(Row(
            "roll-top-backpack",
            "Roll-top backpack",
            "backpack",
            9800,
            9,
            980,
            "Twenty-two litres that become thirty. Laptop sleeve inside.",
        ))
        .choice("Colour", &[("Black", 0), ("Moss", 0), ("Ochre", 0)]),
        of(Row(
            "canvas-tote",
            "Canvas tote",
            "tote",
            2400,
            30,
            320,
            "Heavy canvas with a flat bottom.",
        ))
        .choice("Colour", &[("Natural", 0), ("Navy", 0), ("Rust", 0)])
        .choice("Size", &[("Medium", 0), ("Large", 600)])
        .without(&["Rust / Large"]),
        of(Row(
            "toiletry-bag",
            "Toiletry bag",
            "pouch",
            3200,
            14,
            240,
            "Hangs from a hook and opens like a book.",
        )),
        of(Row(
            "packing-cubes",
            "Packing cubes, set of four",
            "cubes",
            3700,
            16,
            360,
            "A drawer for the suitcase.",
        ))
        .choice("Colour", &[("Grey", 0), ("Clay", 0)]),
        of(Row(
            "passport-wallet",
            "Passport wallet",
            "wallet",
            4500,
            11,
            110,
            "Vegetable-tanned leather for two passports and the tickets.",
        )),
        of(Row(
            "storm-umbrella",
            "Storm umbrella",
            "umbrella",
            4900,
            13,
            540,
            "Eight ribs that turn back by themselves.",
        ))
        .choice("Colour", &[("Black", 0), ("Yellow", 0)]),
        of(Row(
            "luggage-tag",
            "Luggage tag",
            "tag",
            1200,
            35,
            40,
            "Leather with a flap over the name.",
        )),
    ]
}

fn garden() -> Vec<Item> {
    let of = |row: Row| row.of("garden");
    vec![
        of(Row(
            "zinc-lantern",
            "Zinc lantern",
            "lantern",
            4800,
            10,
            1600,
            "Weatherproof lantern for garden path, balcony and porch. Galvanised, with real glass.",
        ))
        .choice("Size", &[("28 cm", 0), ("40 cm", 1400)]),
        of(Row(
            "terracotta-pot",
            "Terracotta pot",
            "pot",
            1900,
            18,
            3800,
            "Frost-resistant clay with a saucer.",
        ))
        .choice("Size", &[("20 cm", 0), ("30 cm", 1300)]),
        of(Row(
            "copper-watering-can",
            "Copper watering can",
            "can",
            6400,
            7,
            1100,
            "Long spout, fine rose, one and a half litres.",
        )),
        of(Row(
            "hand-trowel",
            "Hand trowel",
            "trowel",
            2100,
            19,
            290,
            "Stainless steel with an ash handle.",
        )),
        of(Row(
            "leather-garden-gloves",
            "Leather garden gloves",
            "gloves",
            2700,
            17,
            180,
            "Goatskin that stands up to roses.",
        ))
        .choice("Size", &[("S", 0), ("M", 0), ("L", 0)]),
        of(Row(
            "oak-bird-feeder",
            "Oak bird feeder",
            "feeder",
            3500,
            9,
            1200,
            "Keeps the seed dry and the squirrels busy.",
        )),
        of(Row(
            "oak-garden-bench",
            "Oak garden bench",
            "bench",
            32900,
            3,
            24000,
            "Two seats, untreated oak, 120 centimetres.",
        ))
        .bulky(),
        of(Row(
            "herb-planter",
            "Herb planter",
            "pot",
            4100,
            8,
            2600,
            "Three zinc pots in a wooden tray for the windowsill.",
        )),
        of(Row(
            "rain-gauge",
            "Glass rain gauge",
            "gauge",
            1650,
            14,
            350,
            "Brass stake, glass tube, honest numbers.",
        )),
    ]
}

fn textiles() -> Vec<Item> {
    let of = |row: Row| row.of("textiles");
    vec![
        of(Row(
            "wool-throw-pillow",
            "Wool throw pillow",
            "pillow",
            3900,
            12,
            600,
            "A throw pillow in boiled wool, 45 centimetres square.",
        ))
        .choice("Colour", &[("Oat", 0), ("Moss", 0), ("Plum", 0)])
        .without(&["Moss"]),
        of(Row(
            "highland-wool-throw",
            "Highland wool throw",
            "blanket",
            8900,
            8,
            900,
            "Pure new wool with a short fringe, 140 by 180 centimetres.",
        ))
        .choice("Colour", &[("Oat", 0), ("Moss", 0), ("Heather", 400)]),
        of(Row(
            "patchwork-quilt",
            "Patchwork quilt",
            "blanket",
            15900,
            4,
            1900,
            "Cotton quilt, stitched by hand, no two alike.",
        ))
        .choice("Size", &[("Single", 0), ("Double", 4000)]),
        of(Row(
            "waffle-towel",
            "Waffle towel",
            "towel",
            1950,
            34,
            310,
            "Dries fast and folds small.",
        ))
        .choice("Colour", &[("White", 0), ("Sage", 0), ("Terracotta", 0)])
        .choice("Size", &[("Hand", 0), ("Bath", 1300)]),
        of(Row(
            "linen-bed-set",
            "Linen bed set",
            "blanket",
            14500,
            6,
            1700,
            "Duvet cover and two pillow cases of washed linen.",
        ))
        .choice("Colour", &[("White", 0), ("Fog", 0)]),
        of(Row(
            "cotton-robe",
            "Cotton robe",
            "robe",
            7600,
            9,
            1100,
            "Long, heavy and with deep pockets.",
        ))
        .choice("Size", &[("S", 0), ("M", 0), ("L", 0)]),
        of(Row(
            "cork-bath-mat",
            "Cork bath mat",
            "mat",
            2800,
            13,
            800,
            "Warm underfoot and dry in an hour.",
        )),
        of(Row(
            "velvet-cushion",
            "Velvet cushion cover",
            "pillow",
            2600,
            21,
            220,
            "Cotton velvet, 50 centimetres, with a hidden zip.",
        ))
        .choice("Colour", &[("Petrol", 0), ("Ochre", 0)]),
    ]
}

fn made_to_order() -> Vec<Item> {
    let of = |row: Row| row.of("made-to-order");
    vec![of(Row(
        "custom-lamp",
        "Your own lamp",
        "table-lamp",
        0,
        99,
        1800,
        "Built as configured.",
    ))]
}
