/* SPDX-License-Identifier: MIT
 * ui/sdl.h - windows: what sdl.c, which shows pictures, and sdl-input.c, which takes keys and pointers,
 * share. */
#ifndef UI_SDL_H
#define UI_SDL_H

#include "rhea/ui/clipboard.h"
#include "rhea/ui/display.h"
#include "rhea/ui/input.h"

#include <SDL.h>

/* The library is loaded when a window is wanted: it brings half a desktop's libraries along, which would
 * cost every start milliseconds. */
#define SDL_CALLS(X)                                                                                \
    X(Init) X(Quit) X(GetError) X(SetHint) X(PollEvent) X(CreateWindow) X(DestroyWindow)            \
    X(GetWindowID) X(SetWindowTitle) X(SetWindowSize) X(GetWindowSize) X(SetWindowFullscreen)       \
    X(SetWindowKeyboardGrab) X(ShowWindow) X(HideWindow) X(CreateRenderer) X(DestroyRenderer)       \
    X(RenderSetLogicalSize) X(RenderClear) X(RenderCopy) X(RenderPresent) X(SetRenderDrawColor)     \
    X(CreateTexture) X(DestroyTexture) X(UpdateTexture) X(CreateRGBSurfaceFrom) X(FreeSurface)      \
    X(CreateColorCursor) X(FreeCursor) X(SetCursor) X(GetDefaultCursor) X(ShowCursor)               \
    X(SetRelativeMouseMode) X(GetMouseFocus) X(GetClipboardText) X(SetClipboardText) X(free)

typedef struct SdlLib {
#define CALL(name) __typeof__(SDL_##name) *name;
    SDL_CALLS(CALL)
#undef CALL
} SdlLib;

typedef struct SdlWindow {
    ConsoleListener listener;
    struct SdlDisplay *d;
    SDL_Window *win;
    SDL_Renderer *ren;
    SDL_Texture *tex;     /* of `shown`, or of its converted copy */
    Surface *shown;       /* NULL: the guest shows nothing */
    Surface *copy;        /* of a format that the library has not: x8r8g8b8; NULL: not needed */
    SDL_Cursor *cursor;   /* the guest's; NULL: it draws none */
    unsigned id;
    bool hidden, full, changed;
    bool had_grab;        /* before it filled the screen */
    bool sized;           /* the user has chosen the size: the guest's modes do not change it */
    double fraction[2];   /* of wheels that turn by less than a notch: sideways, up */
} SdlWindow;

typedef struct SdlDisplay {
    Machine *m;
    DisplayOptions o;
    GPtrArray *windows;   /* SdlWindow, in the order of consoles */
    Timer timer;
    InputWatcher watcher;
    ClipboardPeer clipboard;
    MachineListener states;
    SdlWindow *grab;      /* has pointer and keyboard */
} SdlDisplay;

extern SdlLib sdl;

/* sdl.c */
void sdl_title(SdlWindow *w);
void sdl_native_size(SdlWindow *w);
void sdl_scale(SdlWindow *w, int percent);
void sdl_toggle_full(SdlWindow *w);
void sdl_show(SdlWindow *w, bool shown);
bool sdl_is_last(const SdlWindow *w); /* that can be seen */
void sdl_redraw(SdlWindow *w);

/* sdl-input.c */
void sdl_set_grab(SdlDisplay *d, SdlWindow *w); /* NULL: gives it back */
void sdl_pointer_changed(SdlDisplay *d);        /* it tells places now, or movements */
void sdl_show_pointer(SdlDisplay *d, SdlWindow *w);
void sdl_input_event(SdlDisplay *d, SdlWindow *w, const SDL_Event *e);
void sdl_input_forget(SdlWindow *w);            /* it lost the focus, or goes */

#endif
