// Elements from plain calls: h('p', {class: 'note'}, 'text'). Text is always text, never markup.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (value === undefined || value === null || value === false) continue;
        if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
        else element.setAttribute(name, value === true ? '' : String(value));
    }
    for (const child of children.flat(Infinity)) {
        if (child !== undefined && child !== null && child !== false) element.append(child);
    }
    return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// A row of buttons of which one is chosen; the arrow keys move the choice, as in a group of radio buttons.
export function choice(label, options, chosen, on_change) {
    const buttons = options.map(([value, text]) =>
        h('button', { type: 'button', role: 'radio', 'data-choice': value, onclick: () => choose(value, true) }, text));
    function choose(value, tell) {
        buttons.forEach((button, index) => {
            const on = options[index][0] === value;
            button.setAttribute('aria-checked', on);
            button.tabIndex = on ? 0 : -1;
        });
        if (tell) on_change(value);
    }
    const group = h('div', { class: 'choice', role: 'radiogroup', 'aria-label': label }, buttons);
    group.addEventListener('keydown', (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length];
        next.focus();
        next.click();
    });
    choose(chosen, false);
    return group;
}

// A drop-down with its label.
export function picker(label, options, chosen, on_change) {
    const select = h('select', { onchange: () => on_change(select.value) },
        options.map(([value, text]) => h('option', { value, selected: value === chosen }, text)));
    return h('label', { class: 'picker' }, h('span', {}, label), select);
}

// A table. A cell is text, an element, or {text, value, title, class}: `value` is the exact number behind the text.
export function table(heads, rows, attributes) {
    const cell = (tag, item, index) => {
        const plain = item === null || typeof item !== 'object' || item instanceof Node;
        const { text, value, title, ...rest } = plain ? { text: item } : item;
        return h(tag, { 'data-value': value, title, scope: tag === 'th' ? (index < 0 ? 'row' : 'col') : null, ...rest }, text ?? '');
    };
    const head = (item) => cell('th', item, 0);
    return h('div', { class: attributes?.tall ? 'scroll tall' : 'scroll', tabindex: 0, role: 'region', 'aria-label': attributes?.label ?? 'table' },
        h('table', { class: attributes?.class },
            h('thead', {}, h('tr', {}, heads.map(head))),
            h('tbody', {}, rows.map((row) => h('tr', {}, row.map((item, index) => index ? cell('td', item, index) : cell('th', item, -1)))))));
}

export const empty = (...text) => h('p', { class: 'empty' }, text);
