// Attribution: where the time of a request goes, and what makes the difference between two variants.
import { FONT, escape, figure, legend_height, tip_row } from './chart.js';
import { by_variant, differences, exact_means, variant_name, workloads } from './data.js';
import { h, picker } from './dom.js';
import { axis, grouped, percent, signed, time } from './format.js';
import { cause_colours, order_causes } from './palette.js';

// Causes whose change is less than this share of the largest total are one bar.
const SMALL = 400n;

// The bars of the waterfall: from, one for each cause, the small ones together, to.
export function waterfall_bars({ from, to, steps }, names) {
    const limit = (from > to ? from : to) / SMALL;
    const size = (value) => (value < 0n ? -value : value);
    const small = steps.filter((step) => size(step.change) <= limit);
    const bars = [{ kind: 'total', name: names[0], low: 0n, high: from, value: from }];
    let level = from;
    const add = (name, change, parts) => {
        const next = level + change;
        bars.push({ kind: change < 0n ? 'less' : 'more', name, low: level < next ? level : next, high: level < next ? next : level, value: change, before: level, parts });
        level = next;
    };
    for (const step of steps) if (!small.includes(step) || small.length === 1 && step.change !== 0n) add(step.cause, step.change);
    const rest = small.reduce((sum, step) => sum + step.change, 0n);
    const changed = small.filter((step) => step.change !== 0n);
    if (small.length > 1 && changed.length) add(`${changed.length} small ones`, rest, changed);
    bars.push({ kind: 'total', name: names[1], low: 0n, high: to, value: to });
    return bars;
}

function waterfall_option(bars, colours, width) {
    const small = width < 560;
    const colour = (bar) => ({ total: colours.muted, less: colours.less, more: colours.more })[bar.kind];
    const label = (bar) => (bar.kind === 'total' ? time(bar.value) : signed(time(bar.value), bar.value));
    const top = Math.max(...bars.map((bar) => Number(bar.high)));
    return {
        grid: { left: 8, right: small ? 16 : 28, top: 8, bottom: 8, containLabel: true },
        tooltip: {
            trigger: 'item',
            formatter: ({ dataIndex }) => {
                const bar = bars[dataIndex];
                return tip_row(colour(bar), bar.name, label(bar)) + `<div>${grouped(bar.value)} ps per request</div>` +
                    (bar.parts ?? []).map((step) => `<div>${escape(step.cause)} ${escape(signed(time(step.change), step.change))}</div>`).join('');
            },
        },
        xAxis: { type: 'value', min: 0, max: top * (small ? 1.6 : 1.12), axisLabel: { formatter: (value) => (value > top * 1.04 ? '' : axis('ps')(value)), hideOverlap: true }, axisLine: { show: false } },
        yAxis: {
            type: 'category', inverse: true, data: bars.map((bar) => bar.name), axisTick: { show: false },
            axisLabel: { color: colours.text, width: small ? 118 : 220, overflow: 'truncate', fontWeight: 'normal' },
        },
        series: [{
            type: 'custom', data: bars.map((bar, index) => [Number(bar.low), Number(bar.high), index]), encode: { x: [0, 1], y: 2 }, clip: false,
            renderItem: (_, api) => {
                const index = api.value(2);
                const bar = bars[index];
                const [left, middle] = api.coord([api.value(0), index]);
                const right = api.coord([api.value(1), index])[0];
                const pitch = api.size([0, 1])[1];
                const thick = Math.min(26, pitch * 0.66);
                const end = api.coord([Number(bar.kind === 'total' ? bar.value : bar.before + bar.value), index])[0];
                const children = [
                    { type: 'rect', shape: { x: left, y: middle - thick / 2, width: Math.max(right - left, 1.5), height: thick, r: 3 }, style: { fill: colour(bar) } },
                    { type: 'text', style: { x: right + 7, y: middle, text: label(bar), fill: colours.text, font: `600 12.5px ${FONT}`, verticalAlign: 'middle' } },
                ];
                if (index < bars.length - 1) {
                    children.push({ type: 'line', shape: { x1: end, y1: middle + thick / 2, x2: end, y2: middle + pitch - thick / 2 }, style: { stroke: colours.muted, lineWidth: 1, lineDash: [2, 3] } });
                }
                return { type: 'group', children };
            },
        }],
    };
}

// "vf answers in 42 µs, synthetic in 173 µs: ..."
export function finding({ from, to, steps }, names) {
    const change = to - from;
    if (change === 0n) return [`${names[0]} and ${names[1]} take equally long: `, h('strong', {}, time(to)), ' per request.'];
    const way = change < 0n ? 'saves' : 'costs';
    const size = (value) => (value < 0n ? -value : value);
    const along = steps.filter((step) => (step.change < 0n) === (change < 0n) && step.change !== 0n);
    const main = along.slice(0, 3);
    // The largest of those that go the other way, unless it hardly counts.
    const against = steps.find((step) => (step.change < 0n) !== (change < 0n) && size(step.change) * 50n > size(change));
    return [
        h('strong', {}, names[1]), ` ${way} `, h('strong', { 'data-value': String(size(change)) }, time(size(change))), ` of ${time(from)} per request against ${names[0]} (`,
        percent(Number(size(change)) / (Number(from) || 1)), '): ', main.map((step, index) => `${index ? ', ' : ''}${time(size(step.change))} ${step.cause}`).join(''),
        along.length > main.length ? ' and smaller causes' : '',
        against ? `; but ${time(size(against.change))} ${against.change < 0n ? 'less' : 'more'} ${against.cause}.` : '.',
    ];
}

export function attribution_section(result) {
    const all = by_variant(result, 'attribution');
    if (!all.length) return null;
    const parts = [];
    let workload = all[0].workload;
    const find = (variant) => all.find((entry) => entry.variant === variant && entry.workload === workload);
    const variants_here = () => all.filter((entry) => entry.workload === workload).map((entry) => entry.variant);
    let [from, to] = default_pair(variants_here());

    const text = h('p', { class: 'said', id: 'finding' });
    const current = () => differences(find(from).value, find(to).value);
    const names = () => [variant_name(from), variant_name(to)];
    const pickers = h('span', { class: 'controls' });
    const shown = figure({
        id: 'waterfall', title: 'What makes the difference', controls: [pickers, text],
        note: 'Mean time of one request, cause by cause, from the first variant to the second. The bars sum to the difference exactly.',
        option: (colours, width) => waterfall_option(waterfall_bars(current(), names()), colours, width),
        rows: () => {
            const { from: a, to: b, steps } = current();
            return [['cause', `${names()[0]}_ps`, `${names()[1]}_ps`, 'change_ps'], ...steps.map((step) => [step.cause, step.from, step.to, step.change]), ['total', a, b, b - a]];
        },
        height: () => 24 + 34 * waterfall_bars(current(), names()).length,
    });
    function fill() {
        if (!find(from) || !find(to)) [from, to] = default_pair(variants_here());
        const options = variants_here().map((name) => [name, variant_name(name)]);
        const several = workloads(all).length > 1;
        pickers.replaceChildren(...[
            several && picker('Workload', workloads(all).map((name) => [name, name]), workload, (value) => { workload = value; fill(); shown.refresh(); }),
            picker('From', options, from, (value) => { from = value; fill(); shown.refresh(); }),
            picker('to', options, to, (value) => { to = value; fill(); shown.refresh(); }),
        ].filter(Boolean));
        text.replaceChildren(...finding(current(), names()));
    }
    fill();
    if (variants_here().length > 1) parts.push(shown.element);
    parts.push(share_figure(result, all).element);
    return parts;
}

// The last two variants: as a rule the one that is compared and the one that is proposed.
const default_pair = (variants) => [variants[Math.max(0, variants.length - 2)], variants[variants.length - 1]];

// Where there is little width, a label's variant and workload stand one below the other, and the bars keep most of it.
const two_lines = (width) => (width < 560 ? { formatter: (name) => name.replace(' · ', '\n'), width: 145, overflow: 'truncate', fontSize: 11, lineHeight: 14 } : {});

// One bar for each variant, split by cause: the whole composition.
function share_figure(result, all) {
    const several = workloads(all).length > 1;
    // The ways that one workload can go stand together.
    const together = workloads(all).flatMap((name) => all.filter((entry) => entry.workload === name));
    const rows = together.map((entry) => ({ ...entry, means: exact_means(entry.value), name: several ? `${variant_name(entry.variant)} · ${entry.workload}` : variant_name(entry.variant) }));
    const totals = new Map();
    for (const { means } of rows) for (const [cause, mean] of means.causes) totals.set(cause, (totals.get(cause) ?? 0n) + mean);
    const causes = order_causes(totals);
    return figure({
        id: 'composition', title: 'Where the time of a request goes', note: 'Mean time of one request, split by cause. Blue: guest; orange: hypervisor; green: root; purple: hardware; gold: interrupts; grey: waiting.',
        option: (colours, width) => ({
            grid: { left: 8, right: 24, top: 8, bottom: legend_height(causes, width), containLabel: true },
            legend: { bottom: 0, left: 0 },
            tooltip: { trigger: 'item', formatter: ({ seriesName, dataIndex, color }) => {
                const mean = rows[dataIndex].means.causes.get(seriesName) ?? 0n;
                return `<div>${escape(rows[dataIndex].name)}</div>` + tip_row(color, seriesName, time(mean)) + `<div>${percent(Number(mean) / Number(rows[dataIndex].means.mean || 1n))} of the request</div>`;
            } },
            xAxis: { type: 'value', axisLabel: { formatter: axis('ps'), hideOverlap: true } },
            yAxis: { type: 'category', inverse: true, data: rows.map((row) => row.name), axisTick: { show: false }, axisLabel: { color: colours.text, ...two_lines(width) } },
            series: causes.map((cause) => ({
                type: 'bar', stack: 'all', name: cause, barMaxWidth: 30, color: cause_colours(causes).get(cause), data: rows.map((row) => Number(row.means.causes.get(cause) ?? 0n)),
                itemStyle: { borderColor: colours.card, borderWidth: 1 },
            })),
        }),
        rows: () => [['variant', 'workload', 'cause', 'mean_ps'], ...rows.flatMap((row) => [...row.means.causes].map(([cause, mean]) => [row.variant, row.workload, cause, mean]))],
        height: (width) => 50 + legend_height(causes, width) + 46 * rows.length,
    });
}
