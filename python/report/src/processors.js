// Processors: where their time went, by cause; without such a record, how busy they were, from the statistics.
import { escape, figure, legend_height, tip_row } from './chart.js';
import { variant_name } from './data.js';
import { choice, h, table } from './dom.js';
import { grouped, percent, time } from './format.js';
import { cause_colours, order_causes } from './palette.js';

const MANY = 16;
// More causes than this are gathered by kind at first.
const MANY_CAUSES = 14;
// More than this have a legend that scrolls.
const LONG_LEGEND = 36;

// A guest's cause without its partition and without the detail: guest.web.stack.tcp is of the kind guest.stack.
function kind_of(cause) {
    const [first, , what] = cause.split('.');
    return first === 'guest' && what ? `guest.${what}` : cause;
}

function gathered(causes) {
    const sums = {};
    for (const [cause, ps] of Object.entries(causes)) sums[kind_of(cause)] = (sums[kind_of(cause)] ?? 0) + Number(ps);
    return sums;
}

const natural = (a, b) => a.localeCompare(b, 'en', { numeric: true });
const short_name = (name) => name.split('.').at(-1);

export function cpu_rows(cpu, variants) {
    const rank = (name) => (variants.includes(name) ? variants.indexOf(name) : variants.length);
    return Object.keys(cpu).sort((a, b) => rank(a) - rank(b)).flatMap((variant) =>
        Object.keys(cpu[variant].processors).sort(natural).map((processor) => ({ variant, processor, window: Number(cpu[variant].window_ps), causes: cpu[variant].processors[processor] })));
}

function together(rows) {
    const groups = new Map();
    for (const row of rows) {
        const group = groups.get(row.variant) ?? { variant: row.variant, processor: 'all processors', window: 0, causes: {} };
        group.window += row.window;
        for (const [cause, ps] of Object.entries(row.causes)) group.causes[cause] = Number(group.causes[cause] ?? 0) + Number(ps);
        groups.set(row.variant, group);
    }
    return [...groups.values()];
}

export function processors_section(result, statistics) {
    const rows = cpu_rows(result.cpu ?? {}, result.variants ?? []);
    if (!rows.length) return busy_section(result, statistics);
    const causes_of = (list) => {
        const totals = new Map();
        for (const row of list) for (const [cause, ps] of Object.entries(row.causes)) totals.set(cause, (totals.get(cause) ?? 0) + Number(ps));
        return order_causes(new Map([...totals].filter(([, ps]) => ps > 0)));
    };
    const by_kind = rows.map((row) => ({ ...row, causes: gathered(row.causes) }));
    const kinds = { full: [rows, causes_of(rows)], kind: [by_kind, causes_of(by_kind)] };
    let detail = kinds.full[1].length > MANY_CAUSES && kinds.kind[1].length < kinds.full[1].length ? 'kind' : 'full';
    const causes = () => kinds[detail][1];
    const several = new Set(rows.map((row) => row.variant)).size > 1;
    let view = rows.length > MANY ? 'all' : 'each';
    const shown_rows = () => (view === 'all' ? together(kinds[detail][0]) : kinds[detail][0].slice(0, 128));
    const legend_lines = (width) => (causes().length > LONG_LEGEND ? 46 : legend_height(causes(), width));
    const name = (row) => (view === 'all' ? variant_name(row.variant) : several ? `${variant_name(row.variant)} · ${short_name(row.processor)}` : short_name(row.processor));
    const shown = figure({
        id: 'cpu-chart', title: 'What processors spent their time on',
        note: 'Each bar is the whole measured window of a processor. Blue: guests; orange: the hypervisor, by reason of the exit; green: the root, by service provider; grey: idle.',
        controls: [
            choice('Rows', [['each', 'Each processor'], ['all', 'Together']], view, (value) => { view = value; shown.refresh(); }),
            kinds.kind[1].length < kinds.full[1].length && choice('Causes', [['kind', 'By kind'], ['full', 'Every cause']], detail, (value) => { detail = value; shown.refresh(); }),
        ],
        option: (colours, width) => {
            const paint = cause_colours(causes());
            const list = shown_rows();
            return {
                grid: { left: 8, right: 24, top: 8, bottom: legend_lines(width), containLabel: true },
                legend: { bottom: 0, left: 0, type: causes().length > LONG_LEGEND ? 'scroll' : 'plain', pageTextStyle: { color: colours.muted } },
                tooltip: { trigger: 'item', formatter: ({ seriesName, dataIndex, color }) => {
                    const ps = Number(list[dataIndex].causes[seriesName] ?? 0);
                    return `<div>${escape(name(list[dataIndex]))}</div>` + tip_row(color, seriesName, percent(ps / list[dataIndex].window)) + `<div>${escape(time(ps))} of ${escape(time(list[dataIndex].window))}</div>`;
                } },
                xAxis: { type: 'value', max: 1, axisLabel: { formatter: (share) => `${Math.round(share * 100)}%` } },
                yAxis: { type: 'category', inverse: true, data: list.map(name), axisTick: { show: false }, axisLabel: { color: colours.text, interval: 0 } },
                series: causes().map((cause) => ({
                    type: 'bar', stack: 'cpu', name: cause, barMaxWidth: 26, barCategoryGap: '24%', color: paint.get(cause),
                    data: list.map((row) => Number(row.causes[cause] ?? 0) / row.window), itemStyle: { borderColor: colours.card, borderWidth: 0.75 },
                })),
            };
        },
        rows: () => [['variant', 'processor', 'cause', 'ps', 'window_ps'], ...rows.flatMap((row) => Object.entries(row.causes).map(([cause, ps]) => [row.variant, row.processor, cause, ps, row.window]))],
        height: (width) => 60 + legend_lines(width) + shown_rows().length * (shown_rows().length > 24 ? 20 : 32),
    });
    return [shown.element];
}

function busy_section(result, statistics) {
    const busy = statistics.rows.map((row) => [row, /\.(lp\d+)\.busy$/.exec(row.name)]).filter(([, match]) => match)
        .map(([row, match]) => ({ name: match[1], ps: row.value })).sort((a, b) => natural(a.name, b.name));
    const window = Number(result.sim_time_ps);
    if (!busy.length || !window) return null;
    const shown = figure({
        id: 'cpu-chart', title: 'How busy processors were',
        note: 'Share of the simulated time in which a virtual processor or the root ran there. This run kept no record by cause.',
        option: (colours) => ({
            grid: { left: 8, right: 56, top: 8, bottom: 8, containLabel: true },
            tooltip: { trigger: 'item', formatter: ({ dataIndex, color }) => tip_row(color, busy[dataIndex].name, percent(Number(busy[dataIndex].ps) / window)) + `<div>${escape(time(busy[dataIndex].ps))} of ${escape(time(window))}</div>` },
            xAxis: { type: 'value', max: 1, axisLabel: { formatter: (share) => `${Math.round(share * 100)}%` } },
            yAxis: { type: 'category', inverse: true, data: busy.map((one) => one.name), axisTick: { show: false }, axisLabel: { color: colours.text } },
            series: [{
                type: 'bar', barMaxWidth: 24, color: colours.guest[1], data: busy.map((one) => Number(one.ps) / window), showBackground: true, backgroundStyle: { color: colours.idle, borderRadius: 3 },
                itemStyle: { borderRadius: 3 }, label: { show: true, position: 'right', color: colours.text, formatter: ({ value }) => percent(value) },
            }],
        }),
        rows: () => [['processor', 'busy_ps', 'window_ps'], ...busy.map((one) => [one.name, one.ps, result.sim_time_ps])],
        height: () => 50 + 32 * busy.length,
    });
    return [shown.element];
}

// Exits of each virtual processor by reason, from the statistics "....partitions.2.vp0.exits.halt".
export function exits_section(result, statistics) {
    const found = new Map();
    for (const row of statistics.rows) {
        const match = /\.partitions\.(\d+)\.vp(\d+)\.exits\.(\w+)$/.exec(row.name);
        if (!match || !Number(row.value)) continue;
        const key = `${match[1]}.${match[2]}`;
        if (!found.has(key)) found.set(key, { partition: Number(match[1]), vp: Number(match[2]), reasons: new Map() });
        found.get(key).reasons.set(match[3], row.value);
    }
    if (!found.size) return null;
    const rows = [...found.values()].sort((a, b) => a.partition - b.partition || a.vp - b.vp);
    const ids = [...new Set(rows.map((row) => row.partition))];
    const names = Object.keys(result.partitions ?? {});
    // Partitions get their numbers in the order in which the scenario makes them.
    const partition = (id) => (names.length === ids.length ? names[ids.indexOf(id)] : `partition ${id}`);
    const totals = new Map();
    for (const row of rows) for (const [reason, count] of row.reasons) totals.set(reason, (totals.get(reason) ?? 0) + Number(count));
    const reasons = [...totals.keys()].sort((a, b) => totals.get(b) - totals.get(a));
    const name = (row) => `${partition(row.partition)} · vp${row.vp}`;
    const bars = rows.slice(0, 64);
    const paint = (colours) => [1, 0, 2, 4, 3, 5, 6].map((index) => colours.series[index]).concat(colours.guest[0], colours.root[0], colours.hypervisor[3], colours.other[0], colours.guest[3], colours.root[3]);
    const shown = figure({
        id: 'exits-chart', title: 'Why guests gave up the processor', note: 'Exits to the hypervisor by reason, for each virtual processor.',
        option: (colours, width) => ({
            grid: { left: 8, right: 24, top: 8, bottom: legend_height(reasons, width), containLabel: true },
            legend: { bottom: 0, left: 0 },
            tooltip: { trigger: 'item', formatter: ({ seriesName, dataIndex, value, color }) => `<div>${escape(name(bars[dataIndex]))}</div>` + tip_row(color, seriesName, grouped(value)) },
            xAxis: { type: 'value', axisLabel: { formatter: grouped, hideOverlap: true } },
            yAxis: { type: 'category', inverse: true, data: bars.map(name), axisTick: { show: false }, axisLabel: { color: colours.text } },
            series: reasons.map((reason, index) => ({
                type: 'bar', stack: 'exits', name: reason, barMaxWidth: 26, color: paint(colours)[index % paint(colours).length], itemStyle: { borderColor: colours.card, borderWidth: 0.75 },
                data: bars.map((row) => Number(row.reasons.get(reason) ?? 0)),
            })),
        }),
        rows: () => [['partition', 'vp', 'reason', 'count'], ...rows.flatMap((row) => [...row.reasons].map(([reason, count]) => [partition(row.partition), row.vp, reason, count]))],
        height: (width) => 60 + legend_height(reasons, width) + 32 * bars.length,
    });
    const cell = (count) => (count ? { text: grouped(count), value: String(count) } : { text: '\u00b7', class: 'faint' });
    return [shown.element, h('details', { class: 'block' }, h('summary', {}, 'Exact counts'),
        table(['', ...reasons], bars.map((row) => [name(row), ...reasons.map((reason) => cell(row.reasons.get(reason)))]), { class: 'numbers', label: 'Exits by reason' }))];
}
