// Throughput, time lines and drops.
import { escape, figure, legend_height, tip_row } from './chart.js';
import { by_variant, variant_index, variant_name, workloads } from './data.js';
import { h, table } from './dom.js';
import { axis, bit_rate, by_unit, grouped, rate, time } from './format.js';
import { DASHES } from './palette.js';

export function throughput_section(result) {
    const all = by_variant(result, 'throughput');
    if (!all.length) return null;
    const blocks = [['bits_per_second', 'Throughput', bit_rate, 'throughput-chart'], ['per_second', 'Rate', rate, 'rate-chart']].map(([key, title, text, id]) => {
        const entries = all.filter(({ value }) => Number(value[key]) > 0);
        if (!entries.length) return null;
        const names = workloads(entries);
        const variants = [...new Set(entries.map((entry) => entry.variant))];
        const find = (variant, workload) => entries.find((entry) => entry.variant === variant && entry.workload === workload);
        return figure({
            id, title, note: key === 'per_second' ? 'Requests, packets or operations in a second of simulated time, as the workload counts them.' : 'Bits of payload in a second of simulated time.',
            option: (colours, width) => ({
                grid: { left: 8, right: width < 560 ? 70 : 90, top: 36, bottom: 8, containLabel: true },
                legend: { top: 0, left: 0 },
                tooltip: { trigger: 'item', formatter: ({ seriesName, name, value, color }) => `<div>${escape(name)}</div>` + tip_row(color, seriesName, text(value)) + `<div>${grouped(value)}</div>` },
                xAxis: { type: 'value', axisLabel: { formatter: (value) => (value ? text(value) : '0'), hideOverlap: true } },
                yAxis: { type: 'category', inverse: true, data: names, axisTick: { show: false }, axisLabel: { color: colours.text } },
                series: variants.map((variant) => ({
                    type: 'bar', name: variant_name(variant), barMaxWidth: 22, barGap: '18%', color: colours.series[variant_index(result, variant) % 7], itemStyle: { borderRadius: [0, 3, 3, 0] },
                    data: names.map((name) => Number(find(variant, name)?.value[key] ?? 0)),
                    label: { show: true, position: 'right', color: colours.text, formatter: ({ value }) => (value ? text(value) : '') },
                })),
            }),
            rows: () => [['variant', 'workload', key, 'bytes', 'count', 'window_ps'], ...entries.map(({ variant, workload, value }) => [variant, workload, value[key], value.bytes, value.count, value.window_ps])],
            height: () => 74 + names.length * (20 + 26 * variants.length),
        }).element;
    });
    return h('div', { class: 'columns wide' }, blocks);
}

export function timeline_section(result) {
    const series = Object.entries(result.timeline ?? {});
    if (!series.length) return null;
    const units = [...new Set(series.map(([, one]) => one.unit))];
    const variants = result.variants ?? [];
    return units.map((unit, position) => {
        const lines = series.filter(([, one]) => one.unit === unit);
        const start = Math.min(...lines.map(([, one]) => Number(one.start_ps)));
        // A value holds for its whole step, the last one too.
        const points = (one) => [...one.values, ...one.values.slice(-1)].map((value, index) => [(Number(one.start_ps) + index * Number(one.step_ps)) / 1e12, Number(value)]);
        return figure({
            id: `timeline-${position}`, title: `Over time, in ${unit || 'counts'}`,
            note: 'Simulated time runs to the right. Drag the handles below to look closer.',
            option: (colours, width) => ({
                grid: { left: 8, right: 24, top: 18 + legend_height(lines.map(([name]) => name), width), bottom: 62, containLabel: true },
                legend: { top: 0, left: 0 },
                tooltip: { trigger: 'axis', formatter: (items) => `<div>${escape(time(items[0].axisValue * 1e12))}</div>` + items.map((item) => tip_row(item.color, item.seriesName, by_unit(item.value[1], unit))).join('') },
                dataZoom: [{
                    type: 'slider', bottom: 8, height: 26, borderColor: colours.line, fillerColor: colours.dark ? 'rgba(90,180,236,.15)' : 'rgba(0,114,178,.10)', handleStyle: { color: colours.card, borderColor: colours.muted },
                    moveHandleStyle: { color: colours.line }, dataBackground: { lineStyle: { color: colours.muted }, areaStyle: { color: colours.line } }, textStyle: { color: colours.muted },
                    selectedDataBackground: { lineStyle: { color: colours.series[1] }, areaStyle: { color: colours.series[1], opacity: 0.15 } }, labelFormatter: (seconds) => time(seconds * 1e12), showDetail: false,
                }],
                xAxis: { type: 'value', min: start / 1e12, max: 'dataMax', axisLabel: { formatter: (seconds) => (seconds ? time(Math.round(seconds * 1e12)) : '0'), hideOverlap: true }, splitLine: { show: false } },
                yAxis: { type: 'value', min: 0, axisLabel: { formatter: axis(unit) } },
                series: lines.map(([name, one], index) => {
                    const variant = variants.findIndex((candidate) => candidate && name.split(/[/ .]/)[0] === candidate);
                    const place = variant >= 0 && lines.length <= variants.length ? variant : index;
                    return {
                        type: 'line', name, data: points(one), showSymbol: one.values.length < 3, step: 'end', color: colours.series[place % 7], lineStyle: { width: 2, type: DASHES[Math.floor(index / 7) % DASHES.length] },
                    };
                }),
            }),
            rows: () => [['series', 'unit', 'time_ps', 'value'], ...lines.flatMap(([name, one]) => one.values.map((value, index) => [name, unit, BigInt(one.start_ps) + BigInt(index) * BigInt(one.step_ps), value]))],
            height: (width) => (width < 560 ? 340 : 360),
        }).element;
    });
}

export function drops_section(result) {
    if (!result.drops) return null;
    const rows = Object.entries(result.drops).flatMap(([place, reasons]) => Object.entries(reasons).map(([reason, count]) => [place, reason, count]));
    const some = rows.filter(([, , count]) => Number(count) > 0);
    const watched = Object.keys(result.drops).length;
    if (!some.length) return h('p', { class: 'card good-news', id: 'no-drops' }, h('span', { class: 'mark', 'aria-hidden': 'true' }, '✓'), ` Nothing was dropped at any of ${watched} places.`);
    const most = Math.max(...some.map(([, , count]) => Number(count)));
    some.sort((a, b) => Number(b[2]) - Number(a[2]));
    return h('div', { class: 'card' }, table(['place', 'reason', 'dropped'], some.map(([place, reason, count]) => [place, reason, {
        value: String(count), text: h('span', { class: 'meter', style: `--share:${(Number(count) / most).toFixed(4)};--colour:var(--series-0)` }, h('span', {}, grouped(count))),
    }]), { class: 'numbers compare drops', label: 'Drops by place and reason' }));
}
