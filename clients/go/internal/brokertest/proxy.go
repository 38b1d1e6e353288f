package brokertest

import (
	"bytes"
	"net"
	"sync"
)

// Proxy stands before a broker. It can hold what clients send on the connections of now and let it go later, as a
// network does whose packets are delayed; or swallow everything, as one does that is cut without a word.
type Proxy struct {
	// Address is host:port.
	Address string

	target   string
	listener net.Listener

	mu    sync.Mutex
	pipes []*pipe
	// refusing: new connections are closed at once.
	refusing bool
}

// pipe is one connection of a client, and the one to the broker that stands for it.
type pipe struct {
	near, far net.Conn

	mu sync.Mutex
	// holding: what the client sends is kept in held. swallowing: what either side sends is lost.
	holding, swallowing bool
	held                []byte
	// answers of the broker while cut: the client does not hear them.
	cut     bool
	answers bytes.Buffer
	// answered is closed when the answers hold what is awaited.
	awaited  []byte
	answered chan struct{}
}

// StartProxy starts one on a free port.
func StartProxy(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Address: listener.Addr().String(), target: target, listener: listener}
	go p.accept()
	return p, nil
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return // Closed, at the end of the test.
		}
		p.mu.Lock()
		isRefusing := p.refusing
		p.mu.Unlock()
		far, err := net.Dial("tcp", p.target)
		if err != nil || isRefusing {
			if far != nil {
				_ = far.Close() // Nothing was sent on it.
			}
			_ = near.Close() // The client hears of it.
			continue
		}
		c := &pipe{near: near, far: far}
		p.mu.Lock()
		p.pipes = append(p.pipes, c)
		p.mu.Unlock()
		go c.forward()
		go c.backward()
	}
}

// Connections that were accepted so far.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pipes)
}

// Hold keeps what clients send from now on over the connections that are open now.
func (p *Proxy) Hold() {
	p.each(func(c *pipe) { c.holding = true })
}

// Refuse closes new connections at once, or lets them through again.
func (p *Proxy) Refuse(isRefusing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = isRefusing
}

// Holds says whether the text is among what is held.
func (p *Proxy) Holds(text string) (isHeld bool) {
	p.each(func(c *pipe) { isHeld = isHeld || len(c.held) > 0 && bytes.Contains(c.held, []byte(text)) })
	return isHeld
}

// HoldsAnything says whether something was sent since Hold.
func (p *Proxy) HoldsAnything() bool { return p.Holds("") }

// Swallow loses everything that is sent over the connections that are open now, both ways. New ones work.
func (p *Proxy) Swallow() {
	p.each(func(c *pipe) { c.swallowing = true })
}

// Cut closes the clients' side of the connections whose bytes are held. The broker does not hear of it.
func (p *Proxy) Cut() {
	p.each(func(c *pipe) {
		if c.holding {
			c.cut = true
			_ = c.near.Close() // The test goes on however that ends.
		}
	})
}

// Release sends what was held to the broker. The channel is closed when the broker's answers to it hold the text.
func (p *Proxy) Release(awaited string) <-chan struct{} {
	answered := make(chan struct{})
	p.each(func(c *pipe) {
		if !c.holding {
			return
		}
		c.holding = false
		c.awaited, c.answered = []byte(awaited), answered
		_, _ = c.far.Write(c.held) // A broker that is gone answers nothing, and the test fails for that.
		c.held = nil
	})
	return answered
}

// Close ends all connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.each(func(c *pipe) { c.close() })
}

func (p *Proxy) each(do func(*pipe)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.pipes {
		c.mu.Lock()
		do(c)
		c.mu.Unlock()
	}
}

func (c *pipe) close() {
	_ = c.near.Close()
	_ = c.far.Close()
}

func (c *pipe) forward() {
	chunk := make([]byte, 64<<10)
	for {
		n, err := c.near.Read(chunk)
		c.mu.Lock()
		switch {
		case c.swallowing:
		case c.holding:
			c.held = append(c.held, chunk[:n]...)
		default:
			_, _ = c.far.Write(chunk[:n]) // The other direction hears of what is wrong.
		}
		// The broker is not told that the client's side is gone.
		isSilent := c.swallowing || c.holding || c.cut
		c.mu.Unlock()
		if err != nil {
			if !isSilent {
				c.close()
			}
			return
		}
	}
}

func (c *pipe) backward() {
	chunk := make([]byte, 64<<10)
	for {
		n, err := c.far.Read(chunk)
		c.mu.Lock()
		switch {
		case c.swallowing:
		case c.cut:
			c.answers.Write(chunk[:n])
			if c.answered != nil && bytes.Contains(c.answers.Bytes(), c.awaited) {
				close(c.answered)
				c.answered = nil
			}
		default:
			_, _ = c.near.Write(chunk[:n]) // The other direction hears of what is wrong.
		}
		isSilent := c.swallowing
		c.mu.Unlock()
		if err != nil {
			if !isSilent {
				c.close()
			}
			return
		}
	}
}
