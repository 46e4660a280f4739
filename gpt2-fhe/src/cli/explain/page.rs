//! Lessons as a page. All steps stand below each other; a small script shows one at a time.

use std::fmt::Write as _;

use super::drawing::{self, Anchor, Drawing};
use super::lesson::{Lesson, LessonPart, LessonTable, NoiseGauge};
use crate::cli::page::{Page, escaped};

const STYLE: &str = "
nav { font-size: .9rem; margin: .8rem 0 }
nav a { display: inline-block; padding: .15rem .6rem; margin: 0 .3rem .3rem 0; border: 1px solid var(--line); border-radius: 1rem; text-decoration: none }
nav a.current { background: var(--link); border-color: var(--link); color: var(--paper) }
h3 { font-size: 1.1rem; margin: 1.8rem 0 .5rem } .step p { margin: .5rem 0; max-width: 46rem }
pre { font: .85rem/1.5 ui-monospace, monospace; background: color-mix(in srgb, var(--line) 35%, transparent); padding: .5rem .8rem; border-radius: 6px; overflow-x: auto }
.scroll { overflow-x: auto; margin: .7rem 0 }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--soft); padding-bottom: .2rem; caption-side: top }
th, td { padding: .15rem .55rem; text-align: right; white-space: nowrap; overflow-wrap: normal; border-top: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left } th { font-weight: 600; border-top: none } td.mark { background: var(--mark); font-weight: 600 }
figure { margin: .9rem 0; overflow-x: auto } figcaption { color: var(--soft); font-size: .85rem }
svg.picture { max-width: 100%; height: auto; display: block }
.check::before { content: '\\2713\\00a0'; color: var(--good); font-weight: 600 } .check.broken::before { content: '\\2717\\00a0 not so: '; color: var(--bad) }
.noise { font-size: .9rem }
.controls { position: sticky; bottom: 0; display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; padding: .6rem 0; background: var(--paper);
  border-top: 1px solid var(--line); margin-top: 1.5rem }
.controls[hidden] { display: none }
button { font: inherit; color: var(--link); background: none; border: 1px solid var(--line); border-radius: 6px; padding: .25rem .9rem; cursor: pointer }
button:disabled { color: var(--soft); cursor: default }
.stepping .step:not(.current), .stepping article:not(.current) { display: none }
";

const SCRIPT: &str = "
(() => {
  const steps = [...document.querySelectorAll('.step')], controls = document.querySelector('.controls');
  const [back, next, all] = controls.querySelectorAll('button'), place = controls.querySelector('.place');
  let current = 0;
  const show = (index, scrolls) => {
    current = Math.max(0, Math.min(steps.length - 1, index));
    const step = steps[current], lesson = step.closest('article'), own = [...lesson.querySelectorAll('.step')];
    document.querySelectorAll('.current').forEach(element => element.classList.remove('current'));
    step.classList.add('current');
    lesson.classList.add('current');
    document.querySelectorAll('nav a').forEach(link => link.classList.toggle('current', link.hash === '#' + lesson.id));
    back.disabled = current === 0;
    next.disabled = current === steps.length - 1;
    place.textContent = 'step ' + (own.indexOf(step) + 1) + ' of ' + own.length;
    if (scrolls) { history.replaceState(null, '', '#' + step.id); window.scrollTo(0, 0); }
  };
  const find = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const step = target && (target.matches('.step') ? target : target.querySelector('.step'));
    return step ? steps.indexOf(step) : 0;
  };
  const stepping = on => {
    document.body.classList.toggle('stepping', on);
    all.textContent = on ? 'All steps' : 'One step at a time';
    back.hidden = next.hidden = place.hidden = !on;
  };
  back.onclick = () => show(current - 1, true);
  next.onclick = () => show(current + 1, true);
  all.onclick = () => { stepping(!document.body.classList.contains('stepping')); show(current, true); };
  addEventListener('hashchange', () => show(find(), true));
  addEventListener('keydown', event => {
    if (!document.body.classList.contains('stepping') || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === 'ArrowRight') show(current + 1, true);
    if (event.key === 'ArrowLeft') show(current - 1, true);
  });
  controls.hidden = false;
  stepping(true);
  show(find(), false);
})();
";

/// Lessons below each other, with a list of them above.
pub(super) fn page(title: &str, introduction: &str, lessons: &[Lesson]) -> String {
    let mut out = format!("<h1>{}</h1>\n<p>{}</p>\n", escaped(title), escaped(introduction));
    if lessons.len() > 1 {
        out += "<nav>\n";
        for lesson in lessons {
            let _ = writeln!(out, "<a href=\"#{}\">{}</a>", escaped(&lesson.name), escaped(&lesson.title));
        }
        out += "</nav>\n";
    }
    // The title of a page with one lesson is that of the lesson.
    let titled = lessons.len() > 1;
    lessons.iter().for_each(|lesson| out += &of_lesson(lesson, titled));
    out += "<div class=\"controls\" hidden><button type=\"button\">Back</button><span class=\"place soft\"></span>\
            <button type=\"button\">Next</button><button type=\"button\"></button></div>\n";
    let style = format!("{STYLE}{}", drawing::STYLE);
    Page { title, style: &style, body: &out, script: SCRIPT }.document()
}

fn of_lesson(lesson: &Lesson, titled: bool) -> String {
    let name = escaped(&lesson.name);
    let mut out = format!("<article id=\"{name}\">\n");
    if titled {
        let _ = writeln!(out, "<h2>{}</h2>", escaped(&lesson.title));
    }
    let chapter = lesson.chapter.map(|chapter| format!(" In the book: the chapter \"{chapter}\".")).unwrap_or_default();
    let _ = writeln!(out, "<p class=\"soft\">{}{}</p>", escaped(&lesson.summary), escaped(&chapter));
    for (index, step) in lesson.steps.iter().enumerate() {
        let number = index + 1;
        let _ = writeln!(out, "<section class=\"step\" id=\"{name}-{number}\">");
        let _ = writeln!(out, "<h3>{number}. {}</h3>", escaped(&step.heading));
        step.parts.iter().for_each(|part| out += &of_part(part));
        out += "</section>\n";
    }
    out + "</article>\n"
}

fn of_part(part: &LessonPart) -> String {
    match part {
        LessonPart::Prose { text } => format!("<p>{}</p>\n", prose(text)),
        LessonPart::Formula { lines } => format!("<pre>{}</pre>\n", escaped(&lines.join("\n"))),
        LessonPart::Table(table) => of_table(table),
        LessonPart::Picture(picture) => {
            let title = &picture.title;
            format!(
                "<figure>\n{}<figcaption>{}</figcaption></figure>\n",
                picture.drawing.element(title),
                escaped(title)
            )
        }
        LessonPart::Noise(gauge) => {
            let sentence = gauge.sentence();
            format!(
                "<figure class=\"noise\">\n<figcaption>{}</figcaption>\n{}</figure>\n",
                escaped(&sentence),
                band(gauge)
            )
        }
        LessonPart::Check(check) => {
            let class = if check.holds { "check" } else { "check broken" };
            format!("<p class=\"{class}\">{}</p>\n", escaped(&check.sentence))
        }
    }
}

/// A paragraph; what is between backquotes is code.
fn prose(text: &str) -> String {
    let escaped = escaped(text);
    let parts = escaped.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 0 { part.to_owned() } else { format!("<code>{part}</code>") }).collect()
}

fn of_table(table: &LessonTable) -> String {
    let mut out = format!("<div class=\"scroll\"><table>\n<caption>{}</caption>\n<tr>", escaped(&table.caption));
    table.columns.iter().for_each(|name| out += &format!("<th>{}</th>", escaped(name)));
    out += "</tr>\n";
    for (row, cells) in table.rows.iter().enumerate() {
        out += "<tr>";
        for (column, cell) in cells.iter().enumerate() {
            let class = if table.is_marked(row, column) { " class=\"mark\"" } else { "" };
            let _ = write!(out, "<td{class}>{}</td>", escaped(cell));
        }
        out += "</tr>\n";
    }
    out + "</table></div>\n"
}

/// Noise on a logarithmic scale: a bar as long as it is, a mark at what was predicted, red from where it is too much.
fn band(gauge: &NoiseGauge) -> String {
    const WIDTH: f64 = 330.0;
    const END: f64 = 290.0;
    let [start, end] = gauge.scale();
    let x = |value: f64| 10.0 + ((value.log2() - start) / (end - start)).clamp(0.0, 1.05) * (END - 10.0);
    let mut drawing = Drawing::new(WIDTH, 44.0);
    drawing.rectangle("box", [10.0, 8.0], [END - 10.0, 14.0]);
    drawing.rectangle("reds", [END, 8.0], [WIDTH - END - 10.0, 14.0]);
    if gauge.measured != 0.0 {
        drawing.rectangle("blue", [10.0, 11.0], [x(gauge.measured.abs()) - 10.0, 8.0]);
    }
    if gauge.predicted > 0.0 {
        drawing.line("to-orange", [x(gauge.predicted), 5.0], [x(gauge.predicted), 25.0]);
        drawing.text("orange", Anchor::Middle, 12.0, [x(gauge.predicted), 38.0], "σ");
    }
    drawing.text("soft", Anchor::Start, 11.0, [10.0, 38.0], &format!("2^{start:.0}"));
    drawing.text("soft", Anchor::Middle, 11.0, [END, 38.0], &format!("2^{end:.1}"));
    drawing.element(&gauge.sentence())
}

#[cfg(test)]
mod tests {
    use super::super::lesson::LessonStep;
    use super::*;

    #[test]
    fn a_page_loads_nothing_and_every_step_has_a_place() {
        let gauge = NoiseGauge { what: "b".into(), measured: 0.001, predicted: 0.002, allowed: 0.1 };
        let table = LessonTable::new("numbers", ["a<b", "c"]).row(["1", "2"]).mark(1);
        let first = LessonStep::new("First").say("1 < 2, by `two`").table(table).noise(gauge);
        let lesson = Lesson::new("one", "One", "What it shows.")
            .step(first)
            .step(LessonStep::new("Second").check("x & y", false));
        let page = page("Lessons", "What they are.", &[lesson, Lesson::new("two", "Two", "")]);
        for text in [
            "id=\"one-1\"",
            "id=\"one-2\"",
            "1 &lt; 2, by <code>two</code>",
            "<td class=\"mark\">2</td>",
            "x &amp; y",
            "href=\"#two\"",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(!page.contains("http") && !page.contains("url(") && !page.contains("src="), "{page}");
        assert!(page.contains("<div class=\"controls\" hidden>"));
    }
}
