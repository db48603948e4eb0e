package quicpeer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
)

// Whoever sends what a small window has room for leaves the rest to the pump,
// which asks for credit should that be lost.
func TestPumpIsToldThatMessagesWaitForCredit(t *testing.T) {
	e := listenChat(t, Config{})
	l, err := newLink(e, bareDial(t, e), nil, nil) // nobody pumps
	require.NoError(t, err)
	l.mux.SetLimit(1)
	f := l.mux.Open(time.Now(), 0, datagram.FlowConfig{})
	message := make([]byte, 1000) // two do not fit one datagram
	for range 2 {
		_, err := f.Offer(t.Context(), time.Time{}, message, datagram.SendOptions{})
		require.NoError(t, err)
	}
	l.Drive()
	require.EqualValues(t, 1, f.Counts().Sent)
	require.True(t, l.mux.Held())
	require.Len(t, l.mux.Wake(), 1, "the pump has to look")
}
