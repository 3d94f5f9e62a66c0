// A figure: heading, controls, chart, and its data as a table and a file. Charts are SVG: sharp on paper and searchable.
import { BarChart, CustomChart, LineChart } from 'echarts/charts';
import { DataZoomComponent, GridComponent, LegendComponent, LegendScrollComponent, TooltipComponent } from 'echarts/components';
import * as echarts from 'echarts/core';
import { LabelLayout } from 'echarts/features';
import { SVGRenderer } from 'echarts/renderers';

import { h, table } from './dom.js';
import { on_redraw, palette } from './palette.js';

echarts.use([BarChart, CustomChart, LineChart, DataZoomComponent, GridComponent, LegendComponent, LegendScrollComponent, TooltipComponent, LabelLayout, SVGRenderer]);

const PAPER_WIDTH = 680;
// Charts measure their text before they draw it, so they need the family by name.
export const FONT = "system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif";

export function download(name, text, type) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const link = h('a', { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export function csv(rows) {
    const field = (item) => {
        const text = String(item ?? '');
        return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return rows.map((row) => row.map(field).join(',') + '\n').join('');
}

export const axis_style = (colours) => ({
    axisLine: { lineStyle: { color: colours.line } },
    axisTick: { lineStyle: { color: colours.line } },
    axisLabel: { color: colours.muted, fontSize: 12 },
    nameTextStyle: { color: colours.muted, fontSize: 12 },
    splitLine: { lineStyle: { color: colours.grid } },
});

function dressed(option, colours) {
    const axes = (list) => list && [list].flat().map((one) => {
        const style = axis_style(colours);
        const merged = { ...style, ...one };
        for (const key of ['axisLabel', 'splitLine', 'nameTextStyle', 'axisLine', 'axisTick']) {
            if (one[key]) merged[key] = { ...style[key], ...one[key] };
        }
        return merged;
    });
    return {
        animation: false,
        textStyle: { fontFamily: FONT, color: colours.text },
        ...option,
        xAxis: axes(option.xAxis),
        yAxis: axes(option.yAxis),
        tooltip: {
            confine: true, backgroundColor: colours.card, borderColor: colours.line, textStyle: { color: colours.text, fontSize: 13 },
            extraCssText: 'border-radius:8px;box-shadow:0 4px 18px rgba(0,0,0,.18);max-width:340px;white-space:normal;', ...option.tooltip,
        },
        legend: option.legend && {
            type: 'plain', itemWidth: 22, itemHeight: 10, itemGap: 14, textStyle: { color: colours.text, fontSize: 13 },
            inactiveColor: colours.line, ...option.legend,
        },
    };
}

// `option(colours, width)` gives the chart, `rows()` its data with a heading row, `height(width)` its height in pixels.
// What it returns has refresh(), to be called when a control changed something.
export function figure({ id, title, note, controls, option, rows, height, label }) {
    const canvas = h('div', { class: 'chart', id, role: 'img', 'aria-label': label ?? title });
    const note_line = h('p', { class: 'note' });
    const data = h('details', { class: 'data' }, h('summary', {}, 'Data as a table'));
    const save_svg = () => {
        const drawing = canvas.querySelector('svg').cloneNode(true);
        drawing.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
        download(`${id}.svg`, drawing.outerHTML, 'image/svg+xml');
    };
    const element = h('figure', { class: 'card' },
        h('figcaption', {}, h('h3', {}, title),
            h('span', { class: 'actions' },
                h('button', { type: 'button', 'data-save': id, onclick: () => download(`${id}.csv`, csv(rows()), 'text/csv'), title: 'Save the data of this figure' }, 'CSV'),
                h('button', { type: 'button', onclick: save_svg, title: 'Save this figure as a drawing' }, 'SVG'))),
        note_line, controls && h('div', { class: 'controls' }, controls), canvas, data);
    let chart;
    let width = 0;
    function draw(printing) {
        const colours = palette();
        width = printing ? PAPER_WIDTH : canvas.clientWidth;
        if (!width) return;
        canvas.style.height = `${height(width)}px`;
        chart ??= echarts.init(canvas, null, { renderer: 'svg', width, height: height(width) });
        chart.resize({ width, height: height(width) });
        chart.setOption(dressed(option(colours, width), colours), { notMerge: true });
    }
    function fill_data() {
        const [heads, ...body] = rows();
        const shown = body.slice(0, 300);
        data.replaceChildren(data.firstElementChild, table(heads, shown.map((row) => row.map(String)), { label: title }));
        if (shown.length < body.length) data.append(h('p', { class: 'note' }, `The first ${shown.length} of ${body.length} rows; the file has all.`));
    }
    data.addEventListener('toggle', () => data.open && fill_data());
    on_redraw(draw);
    new ResizeObserver(() => canvas.clientWidth !== width && document.visibilityState && draw(false)).observe(element);
    function refresh() {
        note_line.textContent = typeof note === 'function' ? note() : note ?? '';
        note_line.hidden = !note_line.textContent;
        draw(false);
        if (data.open) fill_data();
    }
    queueMicrotask(refresh);
    return { element, refresh, redraw: () => draw(false) };
}

// About how high the legend becomes: its entries in lines of this width.
export function legend_height(names, width) {
    let lines = 1;
    let used = 0;
    for (const name of names) {
        const entry = 44 + 7.2 * name.length;
        if (used + entry > width && used) {
            lines += 1;
            used = 0;
        }
        used += entry;
    }
    return 20 + 23 * lines;
}

export const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
export const swatch = (colour) => `<span style="display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px;background:${colour}"></span>`;
export const tip_row = (colour, name, value) =>
    `<div style="display:flex;gap:18px;justify-content:space-between"><span>${swatch(colour)}${escape(name)}</span><b style="font-variant-numeric:tabular-nums">${escape(value)}</b></div>`;
