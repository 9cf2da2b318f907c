//! Turns a paragraph of Markdown into HTML. Only emphasis and code are supported, which is all that notes of
//! tables use.

/// Escapes a text for HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Turns a paragraph of Markdown into HTML. A mark without a closing mark stays as it is.
pub(super) fn html(markdown: &str) -> String {
    let mut html = String::new();
    let mut rest = markdown;
    while let Some(at) = rest.find(['*', '`']) {
        html.push_str(&escaped(&rest[..at]));
        rest = &rest[at..];
        let marked = [("`", "code"), ("**", "strong"), ("*", "em")]
            .into_iter()
            .find_map(|(mark, element)| Some((mark, element, inside(rest, mark)?)));
        if let Some((mark, element, inside)) = marked {
            html.push_str(&format!("<{element}>{}</{element}>", escaped(inside)));
            rest = &rest[2 * mark.len() + inside.len()..];
        } else {
            html.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    html + &escaped(rest)
}

/// The text between this mark at the beginning and the next one. `None` if a space is next to a mark on the
/// inside.
fn inside<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let opened = text.strip_prefix(mark)?;
    let inside = &opened[..opened.find(mark)?];
    let is_marked = !inside.is_empty() && inside.trim() == inside;
    is_marked.then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::html;

    #[test]
    fn marks_become_elements() {
        for (markdown, expected) in [
            ("*cold*: a & b", "<em>cold</em>: a &amp; b"),
            ("past **all** of it", "past <strong>all</strong> of it"),
            ("`a < *b*` it", "<code>a &lt; *b*</code> it"),
            ("*a*, *b*", "<em>a</em>, <em>b</em>"),
        ] {
            assert_eq!(html(markdown), expected);
        }
    }

    #[test]
    fn what_is_no_mark_stays() {
        for text in ["2 * 3 * 4", "one *", "**", "a ` b", ""] {
            assert_eq!(html(text), text);
        }
    }
}
