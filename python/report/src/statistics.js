// All statistics of the run: searchable, sortable, savable.
import { csv, download } from './chart.js';
import { h } from './dom.js';
import { bytes, grouped, time } from './format.js';

const STEP = 200;
const HINTS = ['exits', 'interrupt', 'vmbus', 'pci', 'iommu', 'switch', 'drop', 'busy'];

// Names and values come apart from units and descriptions, of which there are few.
export function read_statistics(packed) {
    const rows = (packed?.names ?? []).map((name, index) => {
        const [unit, description] = packed.kinds[packed.kind_of[index]];
        return { name, value: packed.values[index], unit, description };
    });
    return { rows };
}

const friendly = ({ value, unit }) => (unit === 'ps' ? time(value) : unit === 'bytes' ? bytes(value) : '');

export function statistics_section(statistics) {
    const all = statistics.rows;
    if (!all.length) return null;
    let words = [];
    let shown = STEP;
    let hide_zeros = false;
    let order = { key: 'name', down: false };
    const matches = (row) => (!hide_zeros || Number(row.value) !== 0) && words.every((word) => row.name.toLowerCase().includes(word) || row.description.toLowerCase().includes(word));
    const compare = { name: (a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }), value: (a, b) => Number(a.value) - Number(b.value), unit: (a, b) => a.unit.localeCompare(b.unit) };
    const count = h('span', { class: 'note', role: 'status', id: 'stats-count' });
    const body = h('tbody', {});
    const more = h('button', { type: 'button', onclick: () => { shown = Infinity; fill(); } });
    const search = h('input', { type: 'search', id: 'stats-search', placeholder: 'name or description', 'aria-label': 'Search statistics', autocomplete: 'off', oninput: () => look() });
    const look = (text) => {
        if (text !== undefined) search.value = text;
        words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
        shown = STEP;
        fill();
    };
    const found = () => all.filter(matches).sort((a, b) => compare[order.key](a, b) * (order.down ? -1 : 1));
    const heads = Object.keys(compare).map((key) => h('th', { scope: 'col', class: key === 'value' ? 'number' : null }, h('button', { type: 'button', class: 'sort', onclick: () => { order = { key, down: order.key === key ? !order.down : key === 'value' }; fill(); } }, key)));
    function fill() {
        const rows = found();
        body.replaceChildren(...rows.slice(0, shown).map((row) => h('tr', {},
            h('th', { scope: 'row' }, row.name.split(/(?<=\.)/).flatMap((part) => [part, h('wbr')])), h('td', { class: 'number', 'data-value': String(row.value), title: friendly(row) || null }, grouped(row.value)), h('td', {}, row.unit), h('td', { class: 'description' }, row.description))));
        count.textContent = rows.length === all.length ? `${grouped(all.length)} statistics` : `${grouped(rows.length)} of ${grouped(all.length)} statistics`;
        more.hidden = rows.length <= shown;
        more.textContent = `Show all ${grouped(rows.length)}`;
        heads.forEach((head, index) => {
            const key = Object.keys(compare)[index];
            if (key === order.key) head.setAttribute('aria-sort', order.down ? 'descending' : 'ascending');
            else head.removeAttribute('aria-sort');
        });
    }
    fill();
    return h('div', { class: 'card' },
        h('div', { class: 'controls' }, search,
            h('label', { class: 'tick' }, h('input', { type: 'checkbox', id: 'stats-zeros', onchange: (event) => { hide_zeros = event.target.checked; fill(); } }), ' hide zeros'),
            HINTS.filter((hint) => all.some((row) => row.name.includes(hint))).map((hint) => h('button', { type: 'button', class: 'chip', onclick: () => look(hint) }, hint)),
            count, h('button', { type: 'button', 'data-save': 'stats', onclick: () => download('stats.csv', csv([['name', 'value', 'unit', 'description'], ...found().map((row) => [row.name, row.value, row.unit, row.description])]), 'text/csv') }, 'Save as CSV')),
        h('div', { class: 'scroll tall', tabindex: 0, role: 'region', 'aria-label': 'Statistics' },
            h('table', { class: 'stats', id: 'stats' }, h('thead', {}, h('tr', {}, heads, h('th', { scope: 'col' }, 'what it counts'))), body)), more);
}
