// The page: reads its data, builds the sections that have something to show, and says what it has no data for.
import { attribution_section } from './attribution.js';
import { download } from './chart.js';
import { exact_json, read_data } from './data.js';
import { choice, empty, h } from './dom.js';
import { latency_section } from './latency.js';
import { machine_section } from './machine.js';
import { migrations_section } from './migrations.js';
import { drops_section, throughput_section, timeline_section } from './measures.js';
import { checks_section, head, setup_section, summary_section } from './overview.js';
import { set_theme } from './palette.js';
import { exits_section, processors_section } from './processors.js';
import { read_statistics, statistics_section } from './statistics.js';
import { curves_section, points_section, sweep_head } from './sweep.js';
import './style.css';

function with_statistics(data) {
    const stats = Object.fromEntries(read_statistics(data.statistics).rows.map(({ name, ...row }) => [name, row]));
    return { ...data.result, stats };
}

function files_section(data) {
    const notes = { 'trace.json': 'open it at ui.perfetto.dev or chrome://tracing', 'trace.txt': 'the trace as text', 'stats.csv': 'all statistics', 'result.json': 'everything on this page, and more', 'trace.vcd': 'signals, for GTKWave' };
    const note = (name) => notes[name] ?? (name.endsWith('.pcapng') ? 'frames, for Wireshark' : name.startsWith('console-') ? 'a console, byte by byte' : '');
    return h('div', { class: 'card' },
        h('p', {}, 'Every figure has a CSV button of its own. From this page alone: ',
            h('button', { type: 'button', 'data-save': 'result', onclick: () => download('result.json', `${exact_json(with_statistics(data))}\n`, 'application/json') }, 'Save result.json')),
        data.files?.length ? [h('p', {}, 'Beside this page, if it still lies in the folder of the run:'),
            h('ul', { class: 'files' }, data.files.map((name) => h('li', {}, h('a', { href: encodeURIComponent(name) }, name), note(name) && h('span', { class: 'note' }, ` ${note(name)}`))))] : null);
}

function run_page(data) {
    const result = data.result;
    const statistics = read_statistics(data.statistics);
    const measured = result.latency || result.throughput || result.cpu || result.attribution;
    return {
        head: head(result, data.name),
        sections: [
            ['summary', (result.variants ?? []).length > 1 ? 'Side by side' : 'At a glance', summary_section(result)], ['latency', 'Latency', latency_section(result)], ['attribution', 'Attribution', attribution_section(result)],
            ['processors', 'Processors', processors_section(result, statistics)], ['throughput', 'Throughput', throughput_section(result)], ['timeline', 'Over time', timeline_section(result)], ['migrations', 'Migration', migrations_section(result)],
            ['drops', 'Drops', drops_section(result)], ['exits', 'Exits', exits_section(result, statistics)], ['machine', 'Machine', machine_section(result)], ['checks', 'Checks', checks_section(result)],
            ['setup', 'Set-up', setup_section(result)], ['statistics', 'Statistics', statistics_section(statistics)], ['files', 'Data', files_section(data)],
        ],
        note: measured ? null : 'This run took no measurements of latency, throughput or processor time by cause. What follows is what every run keeps: checks, exits by reason, statistics.',
    };
}

function sweep_page(data) {
    const save = h('div', { class: 'card' }, h('button', { type: 'button', 'data-save': 'sweep', onclick: () => download('sweep.json', `${exact_json(data)}\n`, 'application/json') }, 'Save all points as JSON'));
    return {
        head: sweep_head(data), sections: [['curves', 'Curves', curves_section(data)], ['points', 'Runs', points_section(data)], ['files', 'Data', save]],
        note: Object.keys(data.units).length ? null : 'These runs have no measure in common.',
    };
}

function theme_choice() {
    let stored = '';
    try {
        stored = localStorage.getItem('verdigris-theme') ?? '';
    } catch {
        // A browser may forbid storage to files; then the choice lasts as long as the page.
    }
    if (stored) set_theme(stored);
    return choice('Theme', [['', 'Auto'], ['light', 'Light'], ['dark', 'Dark']], stored, (theme) => {
        set_theme(theme);
        try {
            localStorage.setItem('verdigris-theme', theme);
        } catch {
            // As above.
        }
    });
}

const LOGO = '<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><path d="M3 4h5l4 11 4-11h5l-7 17h-4z" fill="currentColor"/></svg>';

function build(data) {
    const page = data.kind === 'sweep' ? sweep_page(data) : run_page(data);
    const shown = page.sections.filter(([, , content]) => content && [content].flat().some(Boolean));
    const brand = h('span', { class: 'brand' });
    brand.innerHTML = LOGO;
    brand.append('Verdigris');
    const links = shown.map(([id, title]) => h('a', { href: `#${id}` }, title));
    document.body.replaceChildren(
        h('a', { class: 'skip', href: '#main' }, 'To the results'),
        h('div', { class: 'page' },
            h('nav', { 'aria-label': 'Sections' }, h('div', { class: 'top' }, brand, theme_choice()), h('div', { class: 'links' }, links)),
            h('main', { id: 'main' }, page.head, page.note && empty(page.note),
                shown.map(([id, title, content]) => h('section', { id, 'aria-labelledby': `${id}-title` }, h('h2', { id: `${id}-title` }, title), content)),
                h('footer', {}, `Written by Verdigris ${data.version ?? ''}. This file holds all it shows and loads nothing.`))));
    // The section in view is marked in the list.
    const marks = new Map(shown.map(([id], index) => [id, links[index]]));
    const watcher = new IntersectionObserver((entries) => {
        for (const entry of entries) if (entry.isIntersecting) {
            links.forEach((link) => link.removeAttribute('aria-current'));
            marks.get(entry.target.id)?.setAttribute('aria-current', 'true');
        }
    }, { rootMargin: '-10% 0px -80% 0px' });
    document.querySelectorAll('section').forEach((section) => watcher.observe(section));
    document.documentElement.dataset.ready = 'true';
}

read_data().then(build).catch((error) => {
    document.body.replaceChildren(h('p', { class: 'empty', id: 'broken' }, `This page cannot show its data: ${error.message}`));
    throw error;
});
