//! Product pictures: inline SVG, one drawing per kind of thing, toned by the product.
//!
//! Colours come from the style sheet (`.tone-N` sets them for the classes `a` main, `b` dark,
//! `c` light, `s` stroke), so a drawing is markup of the program and nothing else.

use super::html::{Html, html};

/// How many tones the style sheet knows.
const TONES: u32 = 8;

/// The picture of a thing. With a label it is announced as an image, without it is decoration.
pub(super) fn picture(art: &str, slug: &str, label: Option<&str>) -> Html {
    let tone = slug
        .bytes()
        .fold(7_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        })
        .checked_rem(TONES)
        .unwrap_or(0);
    let role = match label {
        Some(text) => html!("role=\"img\" aria-label=\"{}\"", text),
        None => html!("aria-hidden=\"true\""),
    };
    html!(
        "<svg class=\"pic tone-{tone}\" viewBox=\"0 0 240 200\" {role}>\
         <rect class=\"bg\" width=\"240\" height=\"200\"/>\
         <circle class=\"halo\" cx=\"120\" cy=\"96\" r=\"74\"/>\
         <ellipse class=\"sh\" cx=\"120\" cy=\"172\" rx=\"66\" ry=\"7\"/>{shape}</svg>",
        tone = i64::from(tone),
        role = role,
        shape = Html::fixed(shape(art)),
    )
}

fn shape(art: &str) -> &'static str {
    match art {
        "desk-lamp" => {
            r#"<rect class="b" x="78" y="160" width="84" height="11" rx="5"/><path class="s" d="M112 160 88 110 128 70"/><circle class="b" cx="88" cy="110" r="6"/><path class="a" d="M110 58 152 44 174 90 116 100z"/><path class="c" d="M140 95a14 12 0 0 0 28-5z"/>"#
        }
        "table-lamp" => {
            r#"<path class="b" d="M100 170h40l4-8c2-26-16-30-14-54h-20c2 24-16 28-14 54z"/><path class="a" d="M92 46h56l24 64H68z"/><path class="c" d="M92 46h56l4 11H88z"/>"#
        }
        "floor-lamp" => {
            r#"<rect class="b" x="66" y="163" width="62" height="9" rx="4"/><path class="s" d="M97 164V66c0-46 78-50 82-4"/><path class="a" d="M148 92c0-40 62-40 62 0z"/><path class="c" d="M168 92a11 9 0 0 0 22 0z"/>"#
        }
        "pendant" => {
            r#"<path class="s" d="M120 0v56"/><rect class="b" x="110" y="50" width="20" height="16" rx="4"/><circle class="a" cx="120" cy="110" r="47"/><circle class="c" cx="104" cy="94" r="13"/>"#
        }
        "lantern" => {
            r#"<path class="s" d="M94 58c0-40 52-40 52 0"/><path class="b" d="M82 66 98 50h44l16 16z"/><rect class="c" x="88" y="66" width="64" height="90"/><path class="a" d="M120 88c17 22 15 44 0 52-15-8-17-30 0-52z"/><path class="t" d="M104 66v90M136 66v90"/><rect class="b" x="80" y="155" width="80" height="15" rx="4"/>"#
        }
        "paper-lantern" => {
            r#"<path class="s" d="M120 8v28"/><rect class="b" x="104" y="34" width="32" height="9" rx="3"/><ellipse class="a" cx="120" cy="98" rx="56" ry="56"/><path class="t" d="M70 76q50 16 100 0M64 98q56 16 112 0M70 120q50 16 100 0"/><rect class="b" x="104" y="152" width="32" height="9" rx="3"/>"#
        }
        "candle" => {
            r#"<rect class="a" x="94" y="78" width="52" height="92" rx="6"/><path class="c" d="M94 84q13 16 26 0t26 0v-6H94z"/><path class="t" d="M120 78V64"/><path class="b" d="M120 32c14 16 12 30 0 34-12-4-14-18 0-34z"/>"#
        }
        "lights" => {
            r#"<path class="t" d="M16 52q104 84 208 0"/><circle class="a" cx="52" cy="84" r="13"/><circle class="c" cx="86" cy="102" r="13"/><circle class="a" cx="120" cy="108" r="15"/><circle class="c" cx="154" cy="102" r="13"/><circle class="a" cx="188" cy="84" r="13"/>"#
        }
        "pan" => {
            r#"<rect class="b" x="150" y="104" width="82" height="13" rx="6"/><ellipse class="b" cx="98" cy="118" rx="72" ry="40"/><ellipse class="a" cx="98" cy="111" rx="72" ry="38"/><ellipse class="c" cx="98" cy="111" rx="56" ry="28"/>"#
        }
        "knife" => {
            r#"<path class="c" d="M40 112h108V74C96 74 58 88 40 112z"/><rect class="b" x="148" y="76" width="66" height="24" rx="10"/><circle class="a" cx="166" cy="88" r="4"/><circle class="a" cx="192" cy="88" r="4"/>"#
        }
        "board" => {
            r#"<rect class="a" x="52" y="56" width="136" height="104" rx="14"/><circle class="bgc" cx="72" cy="76" r="8"/><path class="t" d="M70 110q50-12 100 0M70 130q50-12 100 0"/>"#
        }
        "bowl" => {
            r#"<path class="a" d="M48 98h144c0 44-30 72-72 72s-72-28-72-72z"/><path class="c" d="M48 98h144l-2 14H50z"/><rect class="b" x="94" y="164" width="52" height="8" rx="4"/>"#
        }
        "apron" => {
            r#"<path class="s" d="M92 52c0-40 56-40 56 0"/><path class="a" d="M90 50h60l6 42h22v78H62V92h22z"/><rect class="c" x="92" y="112" width="56" height="34" rx="4"/>"#
        }
        "casserole" => {
            r#"<rect class="b" x="34" y="104" width="172" height="14" rx="7"/><path class="a" d="M56 92h128v60q0 18-18 18H74q-18 0-18-18z"/><path class="b" d="M52 92q68-46 136 0z"/><circle class="c" cx="120" cy="62" r="9"/>"#
        }
        "rolling-pin" => {
            r#"<g transform="rotate(-24 120 104)"><rect class="b" x="14" y="96" width="212" height="16" rx="8"/><rect class="a" x="52" y="80" width="136" height="48" rx="14"/><rect class="c" x="60" y="86" width="120" height="8" rx="4"/></g>"#
        }
        "kettle" => {
            r#"<path class="s" d="M158 96c44-8 40 54 6 56"/><path class="s" d="M80 140C40 134 60 78 34 66"/><path class="a" d="M84 84h72l14 86H70z"/><path class="b" d="M80 84q40-34 80 0z"/><circle class="c" cx="120" cy="62" r="7"/><path class="c" d="M84 84h72l2 12H82z"/>"#
        }
        "teapot" => {
            r#"<path class="s" d="M166 94c50-16 46 54-4 48"/><path class="a" d="M74 130C44 126 54 90 30 82l10-8c26 6 20 30 38 32z"/><circle class="a" cx="120" cy="124" r="50"/><path class="b" d="M86 88q34-26 68 0z"/><circle class="c" cx="120" cy="70" r="8"/><path class="c" d="M84 104q10-16 24-20-18 18-20 40z"/>"#
        }
        "mug" => {
            r#"<path class="s" d="M152 92c44-6 44 54 0 50"/><path class="a" d="M74 66h82v90q0 14-14 14H88q-14 0-14-14z"/><path class="c" d="M74 66h82v16H74z"/>"#
        }
        "tumbler" => {
            r#"<path class="a" d="M84 66h72l-10 104H94z"/><rect class="b" x="78" y="50" width="84" height="18" rx="8"/><path class="c" d="M88 98h64l-3 34H91z"/>"#
        }
        "grinder" => {
            r#"<path class="s" d="M120 58V40h54"/><circle class="b" cx="176" cy="40" r="10"/><path class="b" d="M88 92q0-34 32-34t32 34z"/><rect class="a" x="84" y="92" width="72" height="78" rx="8"/><rect class="c" x="98" y="120" width="44" height="32" rx="4"/><circle class="b" cx="120" cy="136" r="4"/>"#
        }
        "dripper" => {
            r#"<path class="a" d="M66 50h108l-40 62h-28z"/><rect class="b" x="84" y="110" width="72" height="9" rx="4"/><path class="c" d="M80 119h80l8 42q1 10-9 10H81q-10 0-9-10z"/><path class="b" d="M76 142h88l4 19q1 10-9 10H81q-10 0-9-10z"/>"#
        }
        "tin" => {
            r#"<rect class="a" x="80" y="66" width="80" height="104" rx="6"/><rect class="b" x="76" y="50" width="88" height="26" rx="6"/><rect class="c" x="92" y="98" width="56" height="42" rx="4"/>"#
        }
        "notebook" => {
            r#"<rect class="a" x="70" y="44" width="104" height="128" rx="8"/><rect class="b" x="70" y="44" width="20" height="128" rx="8"/><rect class="c" x="106" y="70" width="52" height="26" rx="3"/><path class="s" d="M160 44v128"/>"#
        }
        "pen" => {
            r#"<g transform="rotate(-38 120 108)"><rect class="a" x="62" y="98" width="106" height="20" rx="8"/><rect class="b" x="152" y="95" width="42" height="26" rx="8"/><path class="c" d="M62 100 34 108l28 8z"/></g>"#
        }
        "organiser" => {
            r#"<path class="c" d="M84 40h10v70H84zM106 54h12v60h-12zM140 34h8v80h-8z"/><path class="a" d="M62 92h52v78H62z"/><path class="b" d="M114 112h66v58h-66z"/><path class="t" d="M124 134h46M124 150h46"/>"#
        }
        "stand" => {
            r#"<rect class="c" x="74" y="42" width="92" height="62" rx="6"/><rect class="b" x="114" y="104" width="12" height="26"/><rect class="a" x="40" y="128" width="160" height="13" rx="4"/><rect class="b" x="52" y="141" width="13" height="29"/><rect class="b" x="175" y="141" width="13" height="29"/>"#
        }
        "mat" => {
            r#"<rect class="a" x="34" y="66" width="172" height="92" rx="10"/><path class="t" d="M42 74h156v76H42z"/><rect class="c" x="150" y="100" width="26" height="38" rx="13"/>"#
        }
        "clock" => {
            r#"<circle class="b" cx="120" cy="104" r="64"/><circle class="c" cx="120" cy="104" r="53"/><path class="s" d="M120 68v36l26 16"/><circle class="a" cx="120" cy="104" r="6"/>"#
        }
        "keyboard" => {
            r#"<rect class="b" x="28" y="72" width="184" height="86" rx="12"/><g class="a"><rect x="40" y="84" width="18" height="16" rx="4"/><rect x="62" y="84" width="18" height="16" rx="4"/><rect x="84" y="84" width="18" height="16" rx="4"/><rect x="106" y="84" width="18" height="16" rx="4"/><rect x="128" y="84" width="18" height="16" rx="4"/><rect x="150" y="84" width="18" height="16" rx="4"/><rect x="46" y="106" width="18" height="16" rx="4"/><rect x="68" y="106" width="18" height="16" rx="4"/><rect x="90" y="106" width="18" height="16" rx="4"/><rect x="112" y="106" width="18" height="16" rx="4"/><rect x="134" y="106" width="18" height="16" rx="4"/><rect x="156" y="106" width="18" height="16" rx="4"/></g><g class="c"><rect x="172" y="84" width="28" height="16" rx="4"/><rect x="178" y="106" width="22" height="16" rx="4"/><rect x="78" y="128" width="84" height="16" rx="4"/></g>"#
        }
        "split-keyboard" => {
            r#"<g transform="rotate(8 64 116)"><rect class="b" x="20" y="76" width="88" height="80" rx="12"/><path class="a" d="M32 88h18v16H32zM54 88h18v16H54zM76 88h18v16H76zM32 110h18v16H32zM54 110h18v16H54zM76 110h18v16H76z"/><path class="c" d="M54 132h40v14H54z"/></g><g transform="rotate(-8 176 116)"><rect class="b" x="132" y="76" width="88" height="80" rx="12"/><path class="a" d="M144 88h18v16h-18zM166 88h18v16h-18zM188 88h18v16h-18zM144 110h18v16h-18zM166 110h18v16h-18zM188 110h18v16h-18z"/><path class="c" d="M144 132h40v14h-40z"/></g>"#
        }
        "keycap" => {
            r#"<path class="b" d="M62 168 78 70h84l16 98z"/><path class="a" d="M80 62h80q8 0 9 8l8 62q1 10-9 10H72q-10 0-9-10l8-62q1-8 9-8z"/><path class="c" d="M104 122 120 78l16 44h-9l-3-10h-9l-3 10z"/>"#
        }
        "duffel" => {
            r#"<path class="s" d="M84 92c0-56 72-56 72 0"/><rect class="a" x="38" y="86" width="164" height="84" rx="30"/><path class="b" d="M78 86h16v84H78zM146 86h16v84h-16z"/><path class="t" d="M52 108h136"/>"#
        }
        "backpack" => {
            r#"<path class="s" d="M100 50c0-28 40-28 40 0"/><rect class="b" x="64" y="98" width="112" height="62" rx="14"/><path class="a" d="M76 70q0-26 44-26t44 26v84q0 16-16 16H92q-16 0-16-16z"/><rect class="c" x="88" y="112" width="64" height="44" rx="8"/><path class="t" d="M88 126h64"/>"#
        }
        "tote" => {
            r#"<path class="s" d="M92 84c0-62 56-62 56 0"/><path class="a" d="M62 80h116l10 90H52z"/><circle class="c" cx="120" cy="126" r="22"/>"#
        }
        "pouch" => {
            r#"<rect class="a" x="48" y="78" width="144" height="88" rx="18"/><path class="b" d="M48 96q0-18 18-18h108q18 0 18 18v8H48z"/><circle class="c" cx="176" cy="104" r="9"/>"#
        }
        "cubes" => {
            r#"<rect class="b" x="48" y="116" width="144" height="54" rx="10"/><rect class="a" x="58" y="76" width="124" height="46" rx="10"/><rect class="c" x="76" y="46" width="88" height="36" rx="8"/><path class="t" d="M64 134h112M72 92h96M86 58h68"/>"#
        }
        "wallet" => {
            r#"<rect class="a" x="62" y="54" width="116" height="112" rx="10"/><circle class="c" cx="120" cy="100" r="22"/><path class="t" d="M98 100h44M120 78v44"/><rect class="b" x="86" y="136" width="68" height="9" rx="4"/>"#
        }
        "umbrella" => {
            r#"<path class="s" d="M120 40v112c0 24 30 24 30 2"/><path class="a" d="M32 104c6-90 170-90 176 0q-22-20-44 0-22-20-44 0-22-20-44 0-22-20-44 0z"/><path class="c" d="M120 36c-20 16-30 40-32 62q16-12 32 6z"/>"#
        }
        "tag" => {
            r#"<path class="s" d="M120 62c-4-34 34-50 52-30"/><path class="a" d="M84 78l36-24 36 24v92H84z"/><circle class="bgc" cx="120" cy="80" r="9"/><rect class="c" x="98" y="104" width="44" height="40" rx="4"/>"#
        }
        "pot" => {
            r#"<path class="c" d="M120 92C86 84 84 46 90 34c22 10 32 32 30 58z"/><path class="b" d="M120 92c-6-40 14-62 40-66 2 32-12 58-40 66z"/><path class="a" d="M72 104h96l-14 66H86z"/><rect class="b" x="64" y="90" width="112" height="20" rx="5"/>"#
        }
        "can" => {
            r#"<path class="s" d="M92 92c0-60 84-52 82 12"/><path class="a" d="M80 90h88v68q0 12-12 12H92q-12 0-12-12z"/><path class="b" d="M80 140 36 84l10-8 38 38z"/><path class="c" d="M24 92 52 62l6 8-26 30z"/>"#
        }
        "trowel" => {
            r#"<g transform="rotate(35 120 104)"><rect class="b" x="110" y="22" width="20" height="58" rx="9"/><rect class="c" x="116" y="78" width="8" height="24"/><path class="a" d="M94 100h52c4 40-10 62-26 74-16-12-30-34-26-74z"/></g>"#
        }
        "gloves" => {
            r#"<path class="a" d="M66 170V98l-18-16 10-12 18 12V50h12v36h6V42h12v44h6V50h12v48l-4 72z"/><path class="b" d="M64 150h58v20H64z"/><path class="c" d="M138 170V104h46v66z"/><path class="c" d="M138 108V62h12v34h5V56h12v40h5V66h12v44z"/>"#
        }
        "feeder" => {
            r#"<path class="s" d="M120 12v28"/><path class="b" d="M64 80l56-42 56 42z"/><rect class="c" x="84" y="80" width="72" height="66"/><path class="a" d="M84 110h72v36H84z"/><rect class="b" x="66" y="146" width="108" height="12" rx="5"/>"#
        }
        "bench" => {
            r#"<path class="a" d="M32 66h176v14H32zM32 88h176v14H32z"/><rect class="c" x="26" y="116" width="188" height="14" rx="4"/><path class="b" d="M42 60h12v112H42zM186 60h12v112h-12z"/>"#
        }
        "gauge" => {
            r#"<rect class="b" x="114" y="120" width="12" height="52"/><rect class="c" x="98" y="36" width="44" height="96" rx="12"/><path class="a" d="M98 92h44v28q0 12-12 12h-20q-12 0-12-12z"/><path class="t" d="M104 56h14M104 72h14M104 88h14"/>"#
        }
        "blanket" => {
            r#"<path class="b" d="M50 146h140v20q0 6-6 6H56q-6 0-6-6z"/><rect class="a" x="46" y="108" width="148" height="40" rx="14"/><rect class="c" x="54" y="72" width="132" height="38" rx="14"/><path class="t" d="M60 120h120M60 134h120M66 84h108M66 98h108"/>"#
        }
        "pillow" => {
            r#"<path class="a" d="M54 62q66 14 132 0 12 52 0 104-66-14-132 0-12-52 0-104z"/><path class="t" d="M74 82q46 10 92 0 8 32 0 64-46-10-92 0-8-32 0-64z"/><circle class="c" cx="120" cy="114" r="8"/>"#
        }
        "towel" => {
            r#"<rect class="b" x="34" y="44" width="172" height="9" rx="4"/><path class="a" d="M72 44h96v126H72z"/><path class="c" d="M72 136h96v14H72z"/><path class="t" d="M72 72h96M72 92h96"/>"#
        }
        "robe" => {
            r#"<path class="a" d="M88 44h64l44 66-22 14-16-24v72H82v-72l-16 24-22-14z"/><path class="c" d="M100 44h40l-20 54z"/><rect class="b" x="80" y="112" width="80" height="11"/>"#
        }
        _ => {
            r#"<path class="a" d="M60 84h120v82H60z"/><path class="b" d="M52 66h136v24H52z"/><path class="c" d="M110 66h20v100h-20z"/>"#
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_escaped_and_absent_means_decoration() {
        let named = picture("mug", "mug", Some("a \"mug\"")).into_string();
        assert!(named.contains("role=\"img\" aria-label=\"a &quot;mug&quot;\""));
        let plain = picture("mug", "mug", None).into_string();
        assert!(plain.contains("aria-hidden=\"true\"") && !plain.contains("role="));
    }

    #[test]
    fn every_product_of_the_catalogue_has_its_own_kind_of_drawing() {
        let fallback = shape("no such thing");
        for item in super::super::seed::items() {
            assert_ne!(shape(item.art), fallback, "{} ({})", item.slug, item.art);
        }
    }
}
